"""What download workers must know: the places for pages and files, and settings."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config
from pypimirror.domain.addresses import NONE, basic, login_of, without_login
from pypimirror.download.protocol import GATHER, MODEST, Hello, Remote
from pypimirror.download.unchanged import ConditionalRequest
from pypimirror.upstream.headers import page_headers


def hello(config: Config, modest: int = MODEST, gather: float = GATHER) -> Hello:
    """Return the first message to download workers."""
    return Hello(
        remotes=remotes(config),
        connections=config.download.connections,
        modest=modest,
        gather=gather,
        timeout=config.download.timeout,
        tries=config.download.tries,
        user_agent=config.user_agent,
        max_file_size=int(config.download.max_file_size),
    )


def remotes(config: Config) -> tuple[Remote, ...]:
    """Return every place for pages and files: upstreams and their alternates."""
    return tuple(
        Remote(
            name,
            url,
            upstream.hosts,
            authorization=authorization,
            proxy=(upstream.proxy.get_secret_value() or config.download.proxy.get_secret_value()),
            ca_file=str(upstream.ca_file or config.download.ca_file or ""),
            keyring=upstream.keyring if url == upstream.url else None,
        )
        for upstream in config.upstream
        for (name, url), authorization in zip(
            places(upstream), authorizations(upstream), strict=True
        )
    )


def question(
    config: Config, place: str, etag: str | None, last_modified: str | None
) -> ConditionalRequest | None:
    """Return the question whether the list of a place has changed since it had these validators.

    Returns None if it has none, or if only a download worker can ask: it has a proxy or a login.
    """
    if not etag and not last_modified:
        return None
    remote = next(remote for remote in remotes(config) if remote.name == place)
    if remote.authorization or remote.proxy not in ("", NONE):
        return None
    headers = page_headers(etag, last_modified) | {"User-Agent": config.user_agent}
    return ConditionalRequest(
        remote.url,
        tuple(headers.items()),
        config.download.timeout,
        remote.ca_file,
        direct=remote.proxy == NONE,
    )


def authorizations(upstream: UpstreamSection) -> Iterator[str]:
    """Yield the Authorization header for an upstream and for each of its alternates."""
    yield upstream.authorization
    for url in upstream.alternates:
        login = login_of(url)
        yield basic(*login) if login else ""


def places(upstream: UpstreamSection) -> Iterator[tuple[str, str]]:
    """Yield name and address of an upstream and of each of its alternates, without logins."""
    yield upstream.name, upstream.url
    yield from further_places(upstream)


def place_of(config: Config, upstream: str | None, link: str) -> str:
    """Return the name of the place that serves a link on a page of an upstream.

    That is the upstream, unless the link goes to the host of an alternate.
    """
    section = next((u for u in config.upstream if u.name == upstream), None)
    if section is not None and section.alternates:
        host = urlsplit(link).netloc
        for name, url in places(section):
            if urlsplit(url).netloc == host:
                return name
    return str(upstream)


def further_places(upstream: UpstreamSection) -> Iterator[tuple[str, str]]:
    """Yield name and address of each alternate of an upstream."""
    for url in upstream.alternates:
        yield without_login(url), without_login(url)
