"""Pictures for the page: whole, or made small once and kept; only those of the run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from labelwise.data.crops import open_sample, small_sample
from labelwise.web.served import Served, ServedFolder
from labelwise.web.thumbnails import SIDES, Thumbnails, jpeg

_LARGEST = 8192  # pixels of a side that can be asked for


def routes(served: Served | ServedFolder) -> APIRouter:
    """Routes of pictures."""
    router = APIRouter(prefix="/api")
    thumbnails = Thumbnails(served.cache / "thumbnails")

    @router.get("/picture", response_class=Response)
    def picture(
        id: str,
        side: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        of: str = "",
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """The picture of a sample, or its crop, as JPEG, as shown; ``side`` bounds its longer side in pixels, 0: none.

        With ``of`` (the key of what is served) the address means the same picture for ever, and may be kept.
        """
        sample = served.sample(id)
        small = next((s for s in SIDES if s >= side), 0) if side else 0
        if not small:
            image = small_sample(sample, side) if side else open_sample(sample)[0]
            data = jpeg(image, 88 if side else 95)
            return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
        data, state = thumbnails.kept(sample, small)
        lasting = "max-age=31536000, immutable" if of and of == served.key else "no-cache"
        headers = {"ETag": f'"{state}"', "Cache-Control": f"private, {lasting}"}
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type="image/jpeg", headers=headers)

    return router
