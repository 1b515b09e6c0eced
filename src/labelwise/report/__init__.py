"""The HTML report: one self-contained file per run or comparison, which works offline."""

from labelwise.report.compare import compare_page
from labelwise.report.run import run_page
from labelwise.report.views import CompareView, PickView, RoundView, RunView

__all__ = ["CompareView", "PickView", "RoundView", "RunView", "compare_page", "run_page"]
