"""Who asks: users, tokens, organizations. The server has one user and one token."""

from __future__ import annotations

from datetime import datetime, timezone

from ..wire import models
from .exchange import Refused, Reply, Request, RouteRow, json_reply
from .services import Services

__all__ = ["AccountRoutes"]


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
            ("POST", "/v1/token", self.get_session),
            ("GET", "/v1/tokens", self.get_tokens),
            ("GET", "/v1/tokens/session", self.get_tokens),
            ("GET", "/v1/tokens/scopes", self.get_scopes),
            ("GET", "/v1/organizations", self.get_organizations),
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
        issued = datetime.now(timezone.utc).isoformat()
        return json_reply(models.Token(self._services.token, "session", issued, None, "*"))

    def get_tokens(self, request: Request) -> Reply:
        """Tokens besides the server's own: none."""
        return json_reply(())

    def get_scopes(self, request: Request) -> Reply:
        """What a token may allow."""
        return json_reply(("*",))

    def get_organizations(self, request: Request) -> Reply:
        """Organizations: none."""
        return json_reply(())
