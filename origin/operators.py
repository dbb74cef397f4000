"""The operator API: creators, drops, offers, clips, and publishing.

Every request carries `Authorization: Bearer ct_...` (made by `python -m origin.keys create NAME`). Write in this
order, because each names the one before it: creators, drops, offers, clips; then publish the clip.

The bodies (all fields: `shared.catalogue`; prices in minor units, instants in milliseconds since 1970 UTC):

    PUT /v1/creators/mika
    {"creator": "mika", "name": "Mika", "page": "https://example.com/mika"}

    PUT /v1/drops/mug-run-1
    {"drop": "mug-run-1", "run": "r1", "sku": "mug", "total": 50, "opens_at_ms": 1790000000000,
     "closes_at_ms": 1790001200000, "mode": "open", "max_quantity": 2, "per_viewer_cap": 2,
     "when_origin_away": "take"}

    PUT /v1/offers/mug
    {"offer": "mug", "drop": "mug-run-1", "kind": "product", "names": {"en": "Mug", "de": "Becher"},
     "descriptions": {"en": "Stoneware, 300 ml", "de": "Steinzeug, 300 ml"}, "image": "https://example.com/mug.webp",
     "prices": [{"currency": "EUR", "amount_minor": 1900}, {"currency": "JPY", "amount_minor": 3000}],
     "payment": "at_pickup"}

    PUT /v1/clips/kiln
    {"clip": "kiln", "creator": "mika", "names": {"en": "From the kiln"}, "default_locale": "en", "offers": ["mug"],
     "links": [{"rel": "terms", "href": "https://example.com/terms", "names": {"en": "Terms"}, "regions": []}],
     "claim_ttl_s": 300}

    POST /v1/clips/kiln/publish        (no body)

Rules:

1. PUT creates (201) or replaces (200); POST on the collection creates (201), and answers 409 `already_exists` when the
   id is taken by another content. The same content again is the same answer (200), however often.
2. What can be stored can be published: `shared.catalogue` decides, inside the transaction that stores.
3. Publishing what has not changed makes no new version, and writes it to the edge's store again.
"""
