"""What goes wrong, as status codes and bodies that existing clients read."""

from __future__ import annotations

import html
import http
from typing import Any

from ganeti import errors

#: the standard sentences; clients show them beside the message
_EXPLAIN = {
    400: "Bad request syntax or unsupported method",
    401: "No permission -- see authorization schemes",
    403: "Request forbidden -- authorization will not help",
    404: "Nothing matches the given URI",
    408: "The request did not come to its end in time",
    412: "Precondition in headers is false",
    413: "Entity is too large",
    415: "Entity body in unsupported format",
    429: "Too many requests in a given amount of time",
    500: "Server got itself in trouble",
    501: "Server does not support this operation",
    502: "Invalid responses from another server/proxy",
    503: "The server cannot process the request due to a high load",
    504: "The gateway server did not receive a timely response",
    505: "Server does not support this version of the protocol",
}


class HttpFailure(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, message: str = "", *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


def bad_request(message: str) -> HttpFailure:
    return HttpFailure(400, message)


def body(status: int, message: str) -> dict[str, Any]:
    """`{"code", "message", "explain"}`."""
    phrase = http.HTTPStatus(status).phrase
    return {"code": status, "message": html.escape(message) or phrase, "explain": _EXPLAIN.get(status, phrase)}


def of_error(error: errors.GanetiError) -> HttpFailure:
    """The answer that fits an error of the master's."""
    if isinstance(error, errors.PrereqError):
        if error.code == errors.SERIAL_MISMATCH:
            return HttpFailure(412, str(error))
        return HttpFailure(404 if error.code == "unknown_entity" else 400, str(error))
    if isinstance(error, errors.LuxiError) and error.http_status != 504:
        is_request = isinstance(error, errors.RequestError)
        return HttpFailure(400 if is_request else 502, str(error))
    return HttpFailure(error.http_status, str(error))
