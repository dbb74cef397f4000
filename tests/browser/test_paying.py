"""Paying for what was tapped: the units are held, the viewer pays on another page, and comes back to a receipt."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.drive import button, happened, offer, open_shop, wait_until
from tests.browser.world import World


def test_a_viewer_pays_on_another_page_and_has_the_receipt_on_this_one(
    page: Page, world: World, context: BrowserContext
) -> None:
    world.to_be_paid = True
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("Held for you: pay €24.00 to keep it.")
    link = overlay.get_by_role("link", name="Pay €24.00")
    with context.expect_page() as opened:
        link.click()
    opened.value.close()
    page.bring_to_front()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    expect(link).to_be_hidden()
    (told,) = happened(page, "pay")
    assert (told["pay_at"], told["client_secret"]) == (f"{world.origin_url}/pay", "secret")
    assert [detail["payment"] for detail in happened(page, "settled")] == ["card"]


def test_a_reload_takes_a_payment_up_where_it_was(page: Page, world: World) -> None:
    world.to_be_paid = True
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(overlay.get_by_role("link", name="Pay €24.00")).to_be_visible()
    world.paid = True
    page.reload()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert len(world.posts("/v1/claims")) == 1


def test_too_little_credit_is_said(page: Page, world: World) -> None:
    world.to_be_paid, world.credit_too_low = True, True
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("You have not enough credit for this.")
    wait_until(lambda: happened(page, "refused"), "refused", page)
