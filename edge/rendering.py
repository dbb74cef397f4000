"""Overlays from compiled templates: one for each context that is asked for, kept while the isolate has room.

The key is what the browser sent, unread: a repeated context costs one look-up, not a parse.
"""

from typing import NamedTuple

from edge.caches import load_stock
from edge.ports import Services
from shared.catalogue.manifest import Manifest
from shared.overlay.locales import choose_locale, language_of
from shared.overlay.rendering import (
    OverlayTemplate,
    ViewerContext,
    compile_html,
    compile_json,
    render_html,
    render_json,
)
from shared.overlay.texts import TEXTS


class ContextKey(NamedTuple):
    """What an overlay depends on for as long as its manifest stands.

    Attributes:
        edge_url: base address for the overlay as a document; empty for JSON.
    """

    clip: str
    version: int
    accept_language: str
    locale: str
    currency: str
    country: str
    edge_url: str


async def render_overlay(services: Services, manifest: Manifest, key: ContextKey) -> bytes:
    """Return the overlay for one context, as it is now: HTML when the key has an edge address, else JSON."""
    template = services.isolate.templates.get(key)
    if template is None:
        template = _compile(manifest, key, services.config.origin_url)
        services.isolate.templates[key] = template
    snapshots = await load_stock(services, drops_of(manifest))
    render = render_html if key.edge_url else render_json
    return render(template, snapshots, services.now_ms())


def drops_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the drops of a clip, in the manifest's order."""
    return tuple(offer.terms.drop for offer in manifest.offers)


def _compile(manifest: Manifest, key: ContextKey, settle_url: str) -> OverlayTemplate:
    # Languages that the creator and the overlay itself both have words for.
    locales = {tag for tag in manifest.names if language_of(tag) in TEXTS}
    locale = choose_locale(key.locale, key.accept_language, locales, manifest.default_locale)
    context = ViewerContext(locale=locale, currency=key.currency, country=key.country)
    if key.edge_url:
        return compile_html(manifest, context, settle_url=settle_url, edge_url=key.edge_url)
    return compile_json(manifest, context, settle_url=settle_url)
