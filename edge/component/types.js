/**
 * The shapes that cross the wire, as the component reads them. Types only: nothing of this file ships.
 *
 * @typedef {"available" | "low" | "last" | "sold_out" | "unknown"} StockState
 *
 * @typedef {object} Stock What a drop has left, at one version.
 * @property {string} [drop]
 * @property {StockState} state
 * @property {number | null} remaining null: not known
 * @property {number} version the highest one wins
 * @property {number} as_of_ms
 * @property {boolean} [stale]
 *
 * @typedef {object} Offer
 * @property {string} offer
 * @property {string} drop
 * @property {string} title
 * @property {string} description
 * @property {string | null} image
 * @property {{amount_minor: number, currency: string, text: string}} price
 * @property {Stock} stock
 * @property {number} opens_at_ms
 * @property {number} closes_at_ms
 * @property {string} action the button's text
 * @property {number} max_quantity units that one viewer may take
 *
 * @typedef {object} View An overlay, as the edge renders it.
 * @property {string} clip
 * @property {string} title
 * @property {string} locale
 * @property {"ltr" | "rtl"} dir
 * @property {string} settle_url
 * @property {number} server_time_ms
 * @property {boolean} shared true: the unpersonalised one
 * @property {Offer[]} offers
 * @property {Record<string, string>} messages
 * @property {{rel: string, href: string, text: string}[]} links
 *
 * @typedef {object} Settled What is kept of a settlement.
 * @property {number} settled_at_ms
 * @property {string} run
 * @property {number[]} run_numbers
 * @property {number} total_minor
 * @property {string} currency
 * @property {"none" | "at_pickup" | "card" | "wallet"} payment
 * @property {string} receipt EdDSA JWS
 *
 * @typedef {object} Pass What is shown where something is picked up.
 * @property {string} code to be typed where there is no camera
 * @property {string} place
 * @property {number} nbf from, in seconds
 * @property {number} exp until, in seconds
 * @property {number} side of the QR code, in modules
 * @property {string} path of its dark modules
 *
 * @typedef {object} Pay How a claim is paid whose units are held.
 * @property {string} pay_at the page where; empty when there is none
 * @property {string} client_secret what a payment provider's own script asks for; empty when there is none
 *
 * @typedef {object} Saved One tap and what came of it: kept in this browser.
 * @property {string} id the tap's idempotency key
 * @property {"tapped" | "claimed" | "settled" | "refused"} state
 * @property {string} edge
 * @property {string} clip
 * @property {string} offer
 * @property {string} drop
 * @property {string} title
 * @property {{amount_minor: number, currency: string, text: string}} price as shown when tapped
 * @property {number} tapped_at_ms
 * @property {string} [claim] the token; forgotten once settled, and the pass is here
 * @property {string} [claim_id]
 * @property {number} [expires_at_ms]
 * @property {string} [settle_url]
 * @property {"event" | "request"} [settles]
 * @property {Settled} [settled]
 * @property {Pass} [pass]
 * @property {Pay} [pay] while it is to be paid
 * @property {string} [code] why it was refused, or why there is no answer yet
 *
 * @typedef {object} Answer An HTTP answer with a JSON body; status 0 stands for anything else.
 * @property {number} status
 * @property {any} body
 * @property {number} waitMs what the server asked to wait, or 0
 *
 * @typedef {"claim" | "pay" | "settled" | "refused" | "error"} Outcome
 *
 * @typedef {object} Listener An overlay that shares the wallet.
 * @property {(saved: Saved, what?: Outcome, stock?: Stock) => void} changed
 */
export {};
