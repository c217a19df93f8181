"""Every answer of every test is held against the OpenAPI document: nothing is sent that it does not tell of."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker

_SCHEMAS = "#/components/schemas/"
#: What every HTTP answer may have; the document need not tell.
_OF_HTTP = frozenset({"content-length", "content-type", "allow"})
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


class Conformance:
    """An event hook of httpx that fails the test at an answer that is not as documented."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._paths = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), operations)
            for path, operations in document["paths"].items()
        ]

    async def __call__(self, response: httpx.Response) -> None:
        """Check one response."""
        operation = self._operation(response.request)
        where = f"{response.request.method} {response.request.url.path}: {response.status_code}"
        if operation is None:
            assert response.status_code in {404, 405}, f"{where}: is not documented at all"
            await self._check_body(response, {"schema": {"$ref": _SCHEMAS + "Problem"}}, where)
            return
        documented = operation["responses"].get(str(response.status_code))
        assert documented is not None, f"{where}: the status is not documented"
        strangers = set(response.headers) - _OF_HTTP - {name.lower() for name in documented["headers"]}
        assert not strangers, f"{where}: headers that are not documented: {sorted(strangers)}"
        await self._check_content(response, documented.get("content", {}), where)

    def _operation(self, request: httpx.Request) -> Any:
        if request.method not in _METHODS:
            return None
        for pattern, operations in self._paths:
            if pattern.fullmatch(request.url.path):
                return operations.get(request.method.lower())
        return None

    async def _check_content(self, response: httpx.Response, contents: Mapping[str, Any], where: str) -> None:
        media_type = response.headers.get("content-type", "")
        if not contents:
            assert not media_type, f"{where}: content that is not documented"
            return
        known = {name.partition(";")[0]: content for name, content in contents.items()}
        content = known.get(media_type.partition(";")[0])
        assert content is not None, f"{where}: {media_type} is not documented"
        await self._check_body(response, content, where)

    async def _check_body(self, response: httpx.Response, content: Mapping[str, Any], where: str) -> None:
        if "json" not in response.headers["content-type"] or response.request.method == "HEAD":
            return
        schema = {**content["schema"], "components": self._document["components"]}
        body = json.loads(await response.aread())
        errors = Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(body)
        assert not (found := [f"{error.json_path}: {error.message}" for error in errors]), f"{where}: {found}"
