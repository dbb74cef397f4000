"""Which adapter the settings ask for."""

from origin.config import CardsConfig
from origin.money.port import PaymentProvider
from origin.money.sandbox import Sandbox
from origin.money.stripe import Stripe


def make_card_provider(config: CardsConfig | None) -> PaymentProvider | None:
    """Return the provider that takes cards, or None when nobody does."""
    if config is None:
        return None
    adapter = Sandbox if config.provider == "sandbox" else Stripe
    return adapter(config.url, config.key, config.webhook_secret)
