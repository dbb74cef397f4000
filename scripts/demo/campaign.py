"""The demo's campaign: one creator, one clip, three offers, loaded through the origin's operator API.

Loading again changes nothing while the drops run; a drop that has ended is opened again as its next run.
"""

import datetime as dt
from typing import Any
from urllib.parse import quote

import httpx

CREATOR = "mika"
CLIP = "lantern-row"
SHIRT, PRINT, SAMPLE = "shirt", "print", "sticker"
OPEN_FOR_MS = 24 * 3600 * 1000
# All of it is fetched at the stall, from when it opens until an hour after it has closed.
PICKUP_PLACE = "night-market"
PICKUP_AFTER_MS = 3600 * 1000
# Opened a little in the past: the clocks of edge and browser need not agree to the second.
OPENED_BEFORE_MS = 60_000
HTTP_NOT_FOUND = 404

Body = dict[str, Any]

OFFERS: dict[str, Body] = {
    SHIRT: {
        "kind": "product",
        "names": {
            "en": "Lantern Row shirt",
            "de": "Lantern-Row-Shirt",
            "fr": "T-shirt Lantern Row",
            "ja": "ランタン・ロウのTシャツ",
            "ar": "قميص لانترن رو",
        },
        "descriptions": {
            "en": "Heavy cotton, hand-printed in tonight's lantern red. Five were made.",
            "de": "Schwere Baumwolle, von Hand im Laternenrot dieses Abends bedruckt. Es gibt fünf Stück.",
            "fr": "Coton épais, imprimé à la main dans le rouge des lanternes de ce soir. Il en existe cinq.",
            "ja": "厚手のコットンに、今夜のランタンの赤を手刷りしました。限定5枚。",
            "ar": "قطن سميك مطبوع يدويًا بأحمر فوانيس هذه الليلة. صُنعت منه خمس قطع.",
        },
        "prices": [{"currency": "EUR", "amount_minor": 2400}, {"currency": "JPY", "amount_minor": 3900}],
        "payment": "at_pickup",
    },
    PRINT: {
        "kind": "product",
        "names": {
            "en": "Lantern Row art print",
            "de": "Kunstdruck Lantern Row",
            "fr": "Affiche d'art Lantern Row",
            "ja": "ランタン・ロウのアートプリント",
            "ar": "لوحة مطبوعة من لانترن رو",
        },
        "descriptions": {
            "en": "The street at blue hour, A3, on cotton paper.",
            "de": "Die Gasse zur blauen Stunde, A3, auf Baumwollpapier.",
            "fr": "La ruelle à l'heure bleue, A3, sur papier coton.",
            "ja": "ブルーアワーの路地。A3判、コットンペーパー。",
            "ar": "الزقاق في الساعة الزرقاء، مقاس A3، على ورق قطني.",
        },
        "prices": [{"currency": "JPY", "amount_minor": 1200}, {"currency": "EUR", "amount_minor": 800}],
        "payment": "card",
    },
    SAMPLE: {
        "kind": "sample",
        "names": {
            "en": "Free sticker",
            "de": "Gratis-Sticker",
            "fr": "Autocollant gratuit",
            "ja": "無料ステッカー",
            "ar": "ملصق مجاني",
        },
        "descriptions": {
            "en": "A weatherproof lantern, to take along at the stall.",
            "de": "Eine wetterfeste Laterne, zum Mitnehmen am Stand.",
            "fr": "Une lanterne résistante aux intempéries, à retirer au stand.",
            "ja": "雨に強いランタンのステッカー。会場のブースでお渡しします。",
            "ar": "فانوس مقاوم للماء، يُستلم من الكشك.",
        },
        "prices": [{"currency": "EUR", "amount_minor": 0}, {"currency": "JPY", "amount_minor": 0}],
        "payment": "none",
    },
}

DROPS: dict[str, Body] = {
    SHIRT: {"sku": "lantern-shirt", "total": 5, "max_quantity": 1, "per_viewer_cap": 1},
    PRINT: {"sku": "lantern-print", "total": 200, "max_quantity": 2, "per_viewer_cap": 2},
    SAMPLE: {"sku": "lantern-sticker", "total": 500, "max_quantity": 1, "per_viewer_cap": 1},
}

CLIP_NAMES = {
    "en": "Lantern Row, live from the night market",
    "de": "Lantern Row, live vom Nachtmarkt",
    "fr": "Lantern Row, en direct du marché de nuit",
    "ja": "ランタン・ロウ、夜市から生中継",
    "ar": "لانترن رو، مباشرة من السوق الليلي",
}

LINKS: dict[str, dict[str, str]] = {
    "terms": {
        "en": "Terms",
        "de": "Bedingungen",
        "fr": "Conditions",
        "ja": "利用規約",
        "ar": "الشروط",
    },
    "shipping": {
        "en": "Shipping and pickup",
        "de": "Versand und Abholung",
        "fr": "Livraison et retrait",
        "ja": "配送と受け取り",
        "ar": "الشحن والاستلام",
    },
}


class CampaignError(Exception):
    """The origin refused a part of the campaign."""


def run_after(run: str) -> str:
    """Return the name of the run after this one: `r1` is followed by `r2`."""
    number = run.removeprefix("r")
    return f"r{int(number) + 1}" if number.isdecimal() else "r1"


def drop_body(offer: str, present: Body | None, now_ms: int) -> Body:
    """Return the drop of an offer as it should be now: the present one while it is open, else its next run."""
    if present is not None and present["closes_at_ms"] > now_ms:
        return present
    run = "r1" if present is None else run_after(present["run"])
    opens_at_ms = now_ms - OPENED_BEFORE_MS
    return {
        "drop": f"{offer}-{run}",
        "run": run,
        **DROPS[offer],
        "opens_at_ms": opens_at_ms,
        "closes_at_ms": opens_at_ms + OPEN_FOR_MS,
        "mode": "open",
        "when_origin_away": "take",
        "pickup": {
            "place": PICKUP_PLACE,
            "zone": "Etc/UTC",
            "opens": wall_time(opens_at_ms),
            "closes": wall_time(opens_at_ms + OPEN_FOR_MS + PICKUP_AFTER_MS),
        },
    }


def wall_time(at_ms: int) -> str:
    """Return an instant as the wall clock of UTC shows it."""
    return dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M")


class Loader:
    """One operator's calls to one origin."""

    def __init__(self, client: httpx.AsyncClient, origin_url: str, api_key: str) -> None:
        self._client, self._base = client, f"{origin_url}/v1"
        self._headers = {"Authorization": f"Bearer {api_key}"}

    async def knows_key(self) -> bool:
        """Return whether the origin takes this API key."""
        answer = await self._client.get(f"{self._base}/creators", headers=self._headers)
        return answer.is_success

    async def load(self, site_url: str, now_ms: int) -> int:
        """Put the campaign in place, publish its clip, and return the published manifest's version."""
        await self._put("creators", CREATOR, {"creator": CREATOR, "name": "Mika", "page": site_url})
        for offer, terms in OFFERS.items():
            known = await self._get("offers", offer)
            present = known and await self._get("drops", known["drop"])
            drop = drop_body(offer, present, now_ms)
            if drop is not present:
                await self._put("drops", drop["drop"], drop)
            await self._put("offers", offer, {"offer": offer, "drop": drop["drop"], **terms})
        links = [{"rel": rel, "href": f"{site_url}/policies.html#{rel}", "names": LINKS[rel]} for rel in LINKS]
        clip = {"clip": CLIP, "creator": CREATOR, "names": CLIP_NAMES, "default_locale": "en", "links": links}
        await self._put("clips", CLIP, {**clip, "offers": list(OFFERS)})
        published = await self._call("POST", f"clips/{CLIP}/publish")
        return int(published["version"])

    async def _get(self, collection: str, name: str) -> Body | None:
        answer = await self._client.get(f"{self._base}/{collection}/{quote(name)}", headers=self._headers)
        return None if answer.status_code == HTTP_NOT_FOUND else _body(answer)

    async def _put(self, collection: str, name: str, body: Body) -> None:
        await self._call("PUT", f"{collection}/{quote(name)}", body)

    async def _call(self, method: str, path: str, body: Body | None = None) -> Body:
        answer = await self._client.request(method, f"{self._base}/{path}", headers=self._headers, json=body)
        return _body(answer)


def _body(answer: httpx.Response) -> Body:
    if not answer.is_success:
        request = f"{answer.request.method} {answer.request.url.path}"
        raise CampaignError(f"the origin refused {request}: {answer.status_code} {answer.text[:300]}")
    document: Body = answer.json()
    return document
