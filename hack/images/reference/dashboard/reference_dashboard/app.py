"""The application: one table of routes. Pages are made here; a script only fetches the table of devices anew."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qs, quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reference_dashboard import cookies
from reference_dashboard.api import Api, ApiAway
from reference_dashboard.bodies import Bodies, HangUp, Refused
from reference_dashboard.pages import FOLDER, HEADERS, Pages
from reference_dashboard.settings import Settings

_PAGE_SIZE: Final = 50
_SHOWN_READINGS: Final = 100
_LONGEST_FORM: Final = 4096
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Dashboard:
    """The parts, and an endpoint for each route."""

    def __init__(self, settings: Settings) -> None:
        """Make all parts; the API is asked only when somebody comes."""
        self._pages = Pages(company=settings.company)
        self._bodies = Bodies()
        self._api = Api(settings.api_url, self._bodies)
        self.app = Starlette(
            routes=[
                Route("/", self.home),
                Route("/live", self.live),
                Route("/sign-in", self.sign_in, methods=["POST"]),
                Route("/sign-out", self.sign_out, methods=["POST"]),
                Route("/devices", self.register, methods=["POST"]),
                Route("/devices/{name}", self.device),
                Route("/devices/{name}/delete", self.delete, methods=["POST"]),
                Route("/api/{path:path}", self._api.pass_on, methods=list(_METHODS)),
                Mount("/static", StaticFiles(directory=FOLDER / "static")),
            ],
            middleware=[Middleware(HangUp)],
            exception_handlers={ApiAway: self._on_api_away, Refused: self._on_refused},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with self._api:
            yield

    async def home(self, request: Request) -> Response:
        """The devices; for a visitor without a token the way in, for which the API is not asked: a probe is one."""
        token = cookies.token_of(request)
        if not token:
            return self._pages.render("sign-in.html")
        return await self._home(request, token)

    async def live(self, request: Request) -> Response:
        """The part of the home page that changes by itself."""
        values = await self._devices(request, cookies.token_of(request))
        return self._pages.render("devices.html", **values)

    async def sign_in(self, request: Request) -> Response:
        """Keep a token that the API takes."""
        token = (await self._form(request)).get("token", "").strip()
        if not cookies.is_own(request):
            return self._foreign()
        if not token.isascii() or not token.isalnum():
            raise Refused(401, "")
        await self._api.get("/api/instance", token)
        response = RedirectResponse("/", status_code=303, headers=HEADERS)
        cookies.keep(response, request, token)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Forget the token."""
        if not cookies.is_own(request):
            return self._foreign()
        response = RedirectResponse("/", status_code=303, headers=HEADERS)
        cookies.forget(response, request)
        return response

    async def register(self, request: Request) -> Response:
        """A new device: its password is on the answer, and nowhere else."""
        name = (await self._form(request)).get("name", "")
        if not cookies.is_own(request):
            return self._foreign()
        token = cookies.token_of(request)
        try:
            registered = await self._api.register(name, token)
        except Refused as refused:
            if refused.status == 401:
                raise
            return await self._home(request, token, status=refused.status, error=str(refused))
        return await self._home(request, token, registered=registered)

    async def delete(self, request: Request) -> Response:
        """A device goes."""
        if not cookies.is_own(request):
            return self._foreign()
        await self._api.delete(request.path_params["name"], cookies.token_of(request))
        return RedirectResponse("/", status_code=303, headers=HEADERS)

    async def device(self, request: Request) -> Response:
        """One device with its last readings."""
        name, token = request.path_params["name"], cookies.token_of(request)
        path = f"/api/devices/{quote(name, safe='')}/readings"
        found = await self._api.get(path, token, limit=str(_SHOWN_READINGS))
        return self._pages.render("device.html", name=name, readings=found["readings"])

    async def _home(
        self,
        request: Request,
        token: str,
        *,
        status: int = 200,
        registered: dict[str, Any] | None = None,
        error: str = "",
    ) -> Response:
        instance = await self._api.get("/api/instance", token)
        values = await self._devices(request, token)
        return self._pages.render(
            "home.html", status=status, instance=instance, registered=registered, error=error, **values
        )

    async def _devices(self, request: Request, token: str) -> dict[str, Any]:
        after = request.query_params.get("after", "")
        page = await self._api.get("/api/devices", token, after=after, limit=str(_PAGE_SIZE))
        devices = page["devices"]
        return {"devices": devices, "after": after, "next": devices[-1]["name"] if len(devices) == _PAGE_SIZE else ""}

    async def _form(self, request: Request) -> dict[str, str]:
        """Return the first value of each field of a form. Raises Refused."""
        body = await self._bodies.read(request, longest=_LONGEST_FORM)
        return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}

    def _foreign(self) -> Response:
        return self._pages.render("message.html", status=403, title="Refused", text="This form is not from this page.")

    async def _on_api_away(self, _request: Request, _error: Exception) -> Response:
        return self._pages.render("away.html", status=503)

    async def _on_refused(self, request: Request, error: Exception) -> Response:
        """What the API refuses: without a valid token there is the way in, everything else is told as it is."""
        assert isinstance(error, Refused)  # noqa: S101 - registered for nothing else
        if error.status != 401:
            return self._pages.render("message.html", status=error.status, title="Refused", text=str(error))
        response = self._pages.render(
            "sign-in.html", status=401, error="This is not the access token of this instance."
        )
        cookies.forget(response, request)
        return response
