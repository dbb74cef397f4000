"""Overlays from compiled templates: one for all contexts that are shown the same, kept while the isolate has room.

Three things are remembered apart, because they last differently: which template a context has (by what the browser
sent, unread), the template, and what is told of stock in it, which all templates of a clip share in one language (and
in one currency, where prices move).
"""

from typing import NamedTuple

from edge.caches import STOCK_USABLE_MS, load_stock, peek_stock
from edge.isolate import Isolate, Recipe, ToldStock
from edge.ports import Services
from shared.catalogue.manifest import Manifest
from shared.catalogue.stock import StockSnapshot
from shared.overlay.locales import choose_locale, language_of
from shared.overlay.rendering import ViewerContext, compile_html, compile_json, distinguish, list_moving
from shared.overlay.telling import OverlayTemplate, Told, fill_html, fill_json, tell_html, tell_json
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


async def render_overlay(services: Services, manifest: Manifest, key: ContextKey, now_ms: int) -> bytes:
    """Return the overlay for one context, as it is now: HTML when the key has an edge address, else JSON."""
    isolate = services.isolate
    recipe = isolate.recipes.get(key)
    if recipe is None:
        recipe = _make_recipe(manifest, key)
        isolate.recipes[key] = recipe
    template = isolate.templates.get(recipe.template)
    if template is None:
        template = _compile(manifest, key, services.config.origin_url)
        isolate.templates[recipe.template] = template
    found = peek_stock(services, recipe.drops, now_ms)
    if found is None:
        found, now_ms = await load_stock(services, recipe.drops, STOCK_USABLE_MS), services.now_ms()
    told = _tell(isolate, recipe, template, found, now_ms)
    return fill_html(template, told) if key.edge_url else fill_json(template, told, now_ms)


def _tell(
    isolate: Isolate, recipe: Recipe, template: OverlayTemplate, found: dict[str, StockSnapshot], now_ms: int
) -> Told:
    """Return what is to be told of stock, made anew only when stock or a window has changed."""
    known = isolate.told.get(recipe.telling)
    if known is not None and known.found is found and known.told.from_ms <= now_ms < known.told.until_ms:
        return known.told
    tell = tell_html if recipe.telling[-1] else tell_json
    told = tell(template, found, now_ms)
    isolate.told[recipe.telling] = ToldStock(found, told)
    return told


def drops_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the drops of a clip, in the manifest's order."""
    return tuple([offer.terms.drop for offer in manifest.offers])


def _make_recipe(manifest: Manifest, key: ContextKey) -> Recipe:
    context = _context_of(manifest, key)
    shown = (key.clip, key.version)
    return Recipe(
        template=(*shown, key.edge_url, *distinguish(manifest, context)),
        telling=(*shown, language_of(context.locale), *list_moving(manifest, context), bool(key.edge_url)),
        drops=drops_of(manifest),
    )


def _context_of(manifest: Manifest, key: ContextKey) -> ViewerContext:
    # Languages that the creator and the overlay itself both have words for.
    locales = {tag for tag in manifest.names if language_of(tag) in TEXTS}
    locale = choose_locale(key.locale, key.accept_language, locales, manifest.default_locale)
    return ViewerContext(locale=locale, currency=key.currency, country=key.country)


def _compile(manifest: Manifest, key: ContextKey, settle_url: str) -> OverlayTemplate:
    context = _context_of(manifest, key)
    if key.edge_url:
        return compile_html(manifest, context, settle_url=settle_url, edge_url=key.edge_url)
    return compile_json(manifest, context, settle_url=settle_url)
