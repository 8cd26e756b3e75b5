"""Who asks: users, tokens, organizations. The server has one user, who may make tokens besides the server's own."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ..wire import models
from .exchange import NO_CONTENT, Refused, Reply, Request, RouteRow, json_reply, moment_of, object_of
from .services import Services
from .store import now
from .tokens import NameTaken

__all__ = ["AccountRoutes"]

ALL = "*"
NAME_LIMIT = 200


class AccountRoutes:
    """The routes of section 2.10 of the contract."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("GET", "/v1/user", self.get_user),
            ("GET", "/v1/users/{username}", self.get_user_named),
            ("GET", "/v1/session", self.get_session),
            ("POST", "/v1/token", self.post_token),
            ("GET", "/v1/tokens", self.get_tokens),
            ("GET", "/v1/tokens/session", self.get_session_token),
            ("GET", "/v1/tokens/scopes", self.get_scopes),
            ("DELETE", "/v1/tokens/{token}", self.delete_token),
            ("GET", "/v1/organizations", self.get_organizations),
            ("GET", "/v1/organizations/{organization}", self.get_organization),
        ]

    def get_user(self, request: Request) -> Reply:
        """Who asks: always the one user of this server."""
        actions = ("read", "write", "create", "delete", "edit", "read_array_logs", "read_job_logs", "run_job")
        name = self._services.user
        return json_reply(models.User(name, (), actions, name, name, name))

    def get_user_named(self, request: Request, username: str) -> Reply:
        """That user by name."""
        if username != self._services.user:
            raise Refused(404, f"This server knows only the user {self._services.user!r}.")
        return self.get_user(request)

    def get_session(self, request: Request) -> Reply:
        """The token of this server, for who has shown it already as a password."""
        return json_reply({**_listed("session", now(), None), "token": self._services.token})

    def post_token(self, request: Request) -> Reply:
        """Makes a token; it is shown this once. Without a body: the server's own."""
        if request.body.strip() in (b"", b"null", b"{}"):
            return self.get_session(request)
        body = object_of(request)
        name, scope, expires = body.get("name"), body.get("scope"), body.get("expires")
        if name is None:
            name = f"token of {now()}"
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT:
            raise Refused(400, f"name must be a text of 1 to {NAME_LIMIT} characters.")
        if scope is not None and scope not in (ALL, [ALL]):
            raise Refused(400, f"scope is {scope!r}; this server's tokens allow everything: '*'.")
        if expires is not None:
            if not isinstance(expires, str):
                raise Refused(400, "expires must be a time as in ISO 8601.")
            expires = moment_of("expires", expires)
            if expires <= now():
                raise Refused(400, "expires is in the past.")
        try:
            token, issued = self._services.tokens.issue(name, expires)
        except NameTaken as error:
            raise Refused(409, str(error)) from None
        return json_reply({**_listed(name, issued, expires), "token": token})

    def get_tokens(self, request: Request) -> Reply:
        """The tokens that were made besides the server's own, by name: what they are is not kept."""
        return json_reply([_listed(*one) for one in self._services.tokens.listed()])

    def get_session_token(self, request: Request) -> Reply:
        """The session that the server's own token is; the token is not shown."""
        issued = datetime.now(timezone.utc).isoformat()
        return json_reply([_listed("session", issued, None)])

    def delete_token(self, request: Request, token: str) -> Reply:
        """Revokes a token, named by its name or itself."""
        if not self._services.tokens.revoke(token):
            raise Refused(404, "There is no such token.")
        return NO_CONTENT

    def get_scopes(self, request: Request) -> Reply:
        """What a token may allow."""
        return json_reply((ALL,))

    def get_organizations(self, request: Request) -> Reply:
        """Organizations: none."""
        return json_reply(())

    def get_organization(self, request: Request, organization: str) -> Reply:
        """An organization: there is none."""
        raise Refused(404, f"This server has one user and no organizations, so not {organization[:63]!r}.")


def _listed(name: str, issued: str, expires: str | None) -> dict[str, Any]:
    return {"name": name, "issued_at": issued, "expires_at": expires, "scope": ALL}
