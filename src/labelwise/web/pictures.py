"""Pictures for the page: whole, or made small once and kept; only those of the run."""

from __future__ import annotations

import io

from fastapi import APIRouter, Response

from labelwise.data.images import open_image
from labelwise.web.served import Served


def routes(served: Served) -> APIRouter:
    """Routes of pictures."""
    router = APIRouter(prefix="/api")

    @router.get("/picture", response_class=Response)
    def picture(id: str, side: int = 0) -> Response:
        """The picture of a sample as JPEG, as shown; ``side`` bounds its longer side in pixels, 0: none."""
        sample = served.sample(id)
        image = open_image(sample.path, name=sample.id)[0]
        if side > 0:
            image.thumbnail((side, side))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=85 if side else 95)
        return Response(data.getvalue(), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    return router
