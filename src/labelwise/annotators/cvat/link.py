"""Talking to a CVAT server through cvat-sdk: JSON in, JSON out; every call has a time limit and is tried again."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from labelwise.annotators.remote import Patience, Server, asked, credential, kind_of
from labelwise.errors import ConfigError, ServerError

T = TypeVar("T")
TOKEN = ("CVAT_ACCESS_TOKEN",)
USER = ("CVAT_USERNAME", "FIFTYONE_CVAT_USERNAME")
PASSWORD = ("CVAT_PASSWORD", "FIFTYONE_CVAT_PASSWORD")
URL = ("CVAT_URL", "FIFTYONE_CVAT_URL")
WANTED = "CVAT_ACCESS_TOKEN, or CVAT_USERNAME and CVAT_PASSWORD, in the environment or in .env"
_PAGE = 100

Api = Callable[[Any], Any]  # from the SDK's client to one of its endpoints


@dataclass(slots=True)
class Link:
    """An open connection: begun with the first call, begun anew when the server no longer takes the credentials."""

    url: str
    organisation: str | None = None
    timeout: float = 60.0
    patience: Patience = field(default_factory=Patience)
    _client: Any = field(default=None, repr=False)
    _secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def server(self) -> Server:
        """The server, as messages name it."""
        return Server("CVAT", self.url, WANTED, self._secrets)

    def get(self, api: Api, doing: str = "", **parameters: Any) -> Any:
        """The JSON that an endpoint answers with; safe to repeat, so tried again."""
        return self.ask(lambda: self.once(api, **parameters), doing)

    def pages(self, api: Api, doing: str = "", **parameters: Any) -> Iterator[dict[str, Any]]:
        """The entries of a list, page after page."""
        yield from self._pages(lambda **page: self.get(api, doing, **parameters, **page))

    def ask(self, call: Callable[[], T], doing: str = "") -> T:
        """What ``call`` returns, which must be safe to repeat; failures as in `labelwise.annotators.remote.asked`.

        Where the server refuses the credentials they are read anew, and a new session begun, once.
        """

        def attempt() -> T:
            self._open()
            try:
                return call()
            except Exception as error:
                if kind_of(error) != "token" or not self._renew():
                    raise
                return call()

        return asked(attempt, self.server, patience=self.patience, doing=doing)

    def once(self, api: Api, **parameters: Any) -> Any:
        """One call of an endpoint, within `ask`: its JSON, or None where it answers with nothing."""
        _, response = api(self._client.api_client).call_with_http_info(_parse_response=False, **parameters)
        return self._content(response)

    def once_pages(self, api: Api, **parameters: Any) -> list[dict[str, Any]]:
        """The entries of a list, within `ask`."""
        return list(self._pages(lambda **page: self.once(api, **parameters, **page)))

    def _pages(self, read: Callable[..., Any]) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            found = read(page=page, page_size=_PAGE)
            yield from found["results"]
            if not found.get("next"):
                return
            page += 1

    def post(self, path: str, *, headers: Mapping[str, str], fields: Mapping[str, Any]) -> Any:
        """One plain POST, within `ask`: fields as JSON, or as parts of a form where ``headers`` say so."""
        from cvat_sdk.core.helpers import make_request_headers

        client = self._client.api_client
        response = client.rest_client.POST(
            self._client.api_map.make_endpoint_url(path),
            headers={**make_request_headers(client), **headers},
            post_params=dict(fields),
        )
        return self._content(response)

    def close(self) -> None:
        """Let go of the connection; the next call begins another."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _content(self, response: Any) -> Any:
        text = response.data
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise ServerError(
                f"CVAT at {self.url}: expected JSON, found something else; is this the address of CVAT itself, and not "
                "of a page before it that asks for a login?"
            ) from None

    def _renew(self) -> bool:
        """Begin anew with the credentials as they are now; False where they are the same token as before."""
        before = self._secrets
        if credential(*TOKEN) is not None and (credential(*TOKEN),) == before:
            return False
        self.close()
        self._open()
        return True

    def _open(self) -> None:
        if self._client is not None:
            return
        from cvat_sdk.core.client import AccessTokenCredentials, Client, PasswordCredentials

        token, user, password = credential(*TOKEN), credential(*USER), credential(*PASSWORD)
        if token is None and (user is None or password is None):
            raise ConfigError(f"annotator cvat: expected {WANTED}; found none, so set them")
        self._secrets = tuple(secret for secret in ((token,) if token else (password,)) if secret)
        quiet = logging.getLogger("labelwise.cvat")
        quiet.addHandler(logging.NullHandler())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = Client(self.url, logger=quiet, check_server_version=False)
        _bound(client.api_client.rest_client, self.timeout)
        client.organization_slug = self.organisation or ""  # empty: the user's own workspace, and nothing else
        client.login(
            AccessTokenCredentials(token) if token else PasswordCredentials(user=user or "", password=password or "")
        )
        self._client = client


def text_of(value: Any) -> str:
    """A kind or state of CVAT's, which is a text, or in older servers a mapping with one."""
    return str(value.get("value") if isinstance(value, Mapping) else value)


def _bound(rest: Any, seconds: float) -> None:
    """Give every request of the SDK a time limit, also those that it makes without one."""
    plain = rest.request

    def request(*arguments: Any, _request_timeout: Any = None, **others: Any) -> Any:
        return plain(*arguments, _request_timeout=_request_timeout or seconds, **others)

    rest.request = request


def check_installed() -> None:
    """Raises ConfigError, with what to install, if cvat-sdk is absent."""
    if importlib.util.find_spec("cvat_sdk") is None:
        raise ConfigError("annotator cvat needs cvat-sdk; install it with pip install 'labelwise[cvat]'")
