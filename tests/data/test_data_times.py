"""Dates as cameras, tables and spreadsheets write them."""

from __future__ import annotations

import io
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.data.times import exif_time, local_time, local_times, seconds


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-03-05 10:11:12", "2024-03-05T10:11:12"),
        ("2024:03:05 10:11:12", "2024-03-05T10:11:12"),
        ("2024-03-05T10:11:12+08:00", "2024-03-05T10:11:12"),
        ("2024-03-05T10:11:12.987", "2024-03-05T10:11:12"),
        (" 05-Mar-2024 10:11:12", "2024-03-05T10:11:12"),
        ("5-Mär-24 10:11", "2024-03-05T10:11:00"),
        ("5 août 2024 1:02 PM", "2024-08-05T13:02:00"),
        ("31-déc-2023", "2023-12-31T00:00:00"),
        ("13/03/2024 12:11 am", "2024-03-13T00:11:00"),
        ("3/13/2024 12:11 pm", "2024-03-13T12:11:00"),
        ("05.03.2024 10:11", "2024-03-05T10:11:00"),
        ("04/04/2024", "2024-04-04T00:00:00"),
        ("45356.5", "2024-03-05T12:00:00"),
        ("45356,75", "2024-03-05T18:00:00"),
        ("03/04/2024", None),
        ("2024-02-30", None),
        ("2024-02-30 10:11:12", None),
        ("0000:00:00 00:00:00", None),
        ("13/03/2024 14:00 pm", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_date_is_understood_or_refused(text, time):
    assert local_time(text) == time


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(min_value=datetime(1000, 1, 1)),
    st.sampled_from(["%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d-%m-%Y %H:%M:%S"]),
)
def test_either_order_is_read_back_when_it_is_said(moment, form):
    moment = moment.replace(microsecond=0)
    assert local_time(moment.strftime(form), day_first=form.startswith("%d")) == moment.isoformat()


def test_one_date_beyond_the_twelfth_tells_the_order_of_a_column():
    assert local_times(["03/04/2024", "13/04/2024"]).values == ["2024-04-03T00:00:00", "2024-04-13T00:00:00"]
    assert local_times(["03/04/2024", "04/13/2024"]).values == ["2024-03-04T00:00:00", "2024-04-13T00:00:00"]


def test_a_column_that_does_not_tell_is_counted_as_unclear():
    found = local_times(["03/04/2024", "", "5-Mar-2024", "x"])
    assert found.values == [None, None, "2024-03-05T00:00:00", None]
    assert found.unclear == 1
    assert local_times(["03/04/2024"], day_first=True).values == ["2024-04-03T00:00:00"]
    assert local_times(["13/04/2024", "04/13/2024", "03/04/2024"]).values[2] is None  # both orders in one column


def test_exif_is_read_from_the_header():
    def picture(**tags):
        image = Image.new("RGB", (8, 8))
        exif = image.getexif()
        for tag, text in tags.items():
            if tag == "changed":
                exif[0x0132] = text
            else:
                exif.get_ifd(0x8769)[0x9003] = text
        data = io.BytesIO()
        image.save(data, "JPEG", exif=exif)
        return Image.open(data)

    assert exif_time(picture(taken="2023:07:01 05:06:07")) == "2023-07-01T05:06:07"
    assert exif_time(picture(changed="2023:07:01 05:06:08")) == "2023-07-01T05:06:08"
    assert exif_time(picture(taken="2023:07:01 05:06:07", changed="2024:01:01 00:00:00")) == "2023-07-01T05:06:07"
    assert exif_time(picture(taken="0000:00:00 00:00:00")) is None
    assert exif_time(picture()) is None


def test_differences_are_in_seconds():
    assert seconds("2024-03-01T00:00:00") - seconds("2024-02-28T23:59:00") == 86_460
