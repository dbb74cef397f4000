"""The words of the overlay itself, by language. Creators' words are in the manifest.

Every language has every key, in the same order; a test compares them. Keys that are problem codes are what a viewer
is told of that problem. `{n}`, `{price}`, `{age}` and `{time}` are filled in by whoever shows the text.
"""

from typing import Final

DEFAULT_LANGUAGE: Final = "en"

_ENGLISH: Final = """
offers: Offers
claim: Claim
reserve: Reserve
claiming: One moment…
settling: Your claim is in. We are confirming it…
settled: It is yours.
number: No. {n}
pay_at_pickup: Pay {price} when you pick it up.
held: Held for you: pay {price} to keep it.
pay: Pay {price}
credit_too_low: You have not enough credit for this.
hold_lapsed: The time to pay is over.
pass: Show this at pickup
free: Free
left: {n} left
last_one: Last one
sold_out: Sold out
stock_unknown: Checking what is left
not_fresh: Stock as of {age} s ago
opens: Opens in {time}
closes: Ends in {time}
closed: Closed
your_claims: Your claims
retrying: Still trying…
offline: You are offline. We keep your claim and go on by ourselves.
failed: That did not work.
try_again: Try again
not_admitted_yet: Many people tapped at once. We keep trying for you.
rate_limited: Too many taps from here in a short time. We keep trying for you.
cap_reached: You already have as many as one person may have.
drop_not_open: It has not opened yet.
drop_closed: It has closed.
claim_expired: This took too long. Tap again.
not_kept: This browser keeps nothing: your claim lasts until you close this page.
missed: Somebody was a moment faster: none are left. You were not charged.
price_changed: The price has changed. Have a look, and tap again.
no_key: This page cannot keep a claim: it needs a secure address (https).
dismiss: Close
"""

_GERMAN: Final = """
offers: Angebote
claim: Sichern
reserve: Reservieren
claiming: Einen Moment…
settling: Deine Anfrage ist da. Wir bestätigen sie gerade…
settled: Es gehört dir.
number: Nr. {n}
pay_at_pickup: Bezahle {price} bei der Abholung.
held: Für dich zurückgelegt: bezahle {price}, um es zu behalten.
pay: {price} bezahlen
credit_too_low: Dein Guthaben reicht dafür nicht.
hold_lapsed: Die Zeit zum Bezahlen ist um.
pass: Bei der Abholung vorzeigen
free: Kostenlos
left: Noch {n}
last_one: Das letzte
sold_out: Ausverkauft
stock_unknown: Bestand wird geprüft
not_fresh: Bestand vor {age} s
opens: Öffnet in {time}
closes: Endet in {time}
closed: Beendet
your_claims: Deine Zusagen
retrying: Wir versuchen es weiter…
offline: Du bist offline. Wir behalten deine Zusage und machen von selbst weiter.
failed: Das hat nicht geklappt.
try_again: Noch einmal
not_admitted_yet: Viele haben gleichzeitig getippt. Wir versuchen es weiter für dich.
rate_limited: Von hier wurde zu oft in kurzer Zeit getippt. Wir versuchen es weiter für dich.
cap_reached: Du hast schon so viele, wie eine Person haben darf.
drop_not_open: Es hat noch nicht begonnen.
drop_closed: Es ist vorbei.
claim_expired: Das hat zu lange gedauert. Tippe noch einmal.
not_kept: Dieser Browser speichert nichts: Deine Zusage gilt, bis du die Seite schließt.
missed: Jemand war einen Moment schneller: Es ist nichts mehr da. Dir wurde nichts berechnet.
price_changed: Der Preis hat sich geändert. Schau ihn dir an und tippe noch einmal.
no_key: Diese Seite kann keine Zusage behalten: Sie braucht eine sichere Adresse (https).
dismiss: Schließen
"""

_FRENCH: Final = """
offers: Offres
claim: Je prends
reserve: Réserver
claiming: Un instant…
settling: Votre demande est notée. Nous la confirmons…
settled: C’est à vous.
number: N° {n}
pay_at_pickup: Payez {price} au retrait.
held: Réservé pour vous : payez {price} pour le garder.
pay: Payer {price}
credit_too_low: Votre crédit ne suffit pas.
hold_lapsed: Le délai de paiement est écoulé.
pass: À présenter au retrait
free: Gratuit
left: Plus que {n}
last_one: Le dernier
sold_out: Épuisé
stock_unknown: Vérification du stock
not_fresh: Stock d’il y a {age} s
opens: Ouvre dans {time}
closes: Se termine dans {time}
closed: Terminé
your_claims: Vos demandes
retrying: Nouvel essai…
offline: Vous êtes hors ligne. Nous gardons votre demande et continuons tout seuls.
failed: Cela n’a pas marché.
try_again: Réessayer
not_admitted_yet: Beaucoup de monde à la fois. Nous continuons d’essayer pour vous.
rate_limited: Trop d’essais d’ici en peu de temps. Nous continuons d’essayer pour vous.
cap_reached: Vous en avez déjà autant qu’une personne peut en avoir.
drop_not_open: Ce n’est pas encore ouvert.
drop_closed: C’est terminé.
claim_expired: Cela a pris trop de temps. Touchez encore une fois.
not_kept: Ce navigateur ne garde rien : votre demande dure tant que cette page reste ouverte.
missed: Quelqu’un a été un instant plus rapide : il n’en reste plus. Rien ne vous a été débité.
price_changed: Le prix a changé. Regardez-le, puis touchez encore une fois.
no_key: Cette page ne peut pas garder de demande : il lui faut une adresse sûre (https).
dismiss: Fermer
"""

_SPANISH: Final = """
offers: Ofertas
claim: Lo quiero
reserve: Reservar
claiming: Un momento…
settling: Tu solicitud está registrada. La estamos confirmando…
settled: Es tuyo.
number: N.º {n}
pay_at_pickup: Paga {price} al recogerlo.
held: Apartado para ti: paga {price} para quedártelo.
pay: Pagar {price}
credit_too_low: No tienes crédito suficiente.
hold_lapsed: Se acabó el tiempo para pagar.
pass: Muéstralo al recogerlo
free: Gratis
left: Quedan {n}
last_one: El último
sold_out: Agotado
stock_unknown: Comprobando existencias
not_fresh: Existencias de hace {age} s
opens: Abre en {time}
closes: Termina en {time}
closed: Cerrado
your_claims: Tus solicitudes
retrying: Seguimos intentando…
offline: Estás sin conexión. Guardamos tu solicitud y seguimos solos.
failed: No ha funcionado.
try_again: Reintentar
not_admitted_yet: Muchas personas a la vez. Seguimos intentándolo por ti.
rate_limited: Demasiados intentos desde aquí en poco tiempo. Seguimos intentándolo por ti.
cap_reached: Ya tienes el máximo por persona.
drop_not_open: Aún no ha abierto.
drop_closed: Ha cerrado.
claim_expired: Ha tardado demasiado. Toca otra vez.
not_kept: Este navegador no guarda nada: tu solicitud dura mientras la página siga abierta.
missed: Alguien ha sido un instante más rápido: ya no queda. No se te ha cobrado nada.
price_changed: El precio ha cambiado. Míralo y toca otra vez.
no_key: Esta página no puede guardar una solicitud: necesita una dirección segura (https).
dismiss: Cerrar
"""

_JAPANESE: Final = """
offers: オファー
claim: 受け取る
reserve: 取り置く
claiming: 少々お待ちください…
settling: 受付しました。確認中です…
settled: あなたのものです。
number: No. {n}
pay_at_pickup: 受け取り時に {price} をお支払いください。
held: お取り置き中です。{price} のお支払いで確定します。
pay: {price} を支払う
credit_too_low: 残高が足りません。
hold_lapsed: お支払いの期限が過ぎました。
pass: 受け取り時にご提示ください
free: 無料
left: 残り {n} 点
last_one: 最後の 1 点
sold_out: 完売
stock_unknown: 在庫を確認中
not_fresh: {age} 秒前の在庫
opens: {time} 後に開始
closes: あと {time} で終了
closed: 終了
your_claims: あなたの受付
retrying: 再試行中…
offline: オフラインです。受付を保持し、自動で続けます。
failed: うまくいきませんでした。
try_again: もう一度
not_admitted_yet: 同時に多くの方がタップしました。引き続き試しています。
rate_limited: 短時間に多くのタップがありました。引き続き試しています。
cap_reached: お一人様の上限に達しています。
drop_not_open: まだ始まっていません。
drop_closed: 終了しました。
claim_expired: 時間がかかりすぎました。もう一度タップしてください。
not_kept: このブラウザーは保存できません。受付はこのページを閉じるまで有効です。
missed: わずかの差で完売となりました。お支払いは発生していません。
price_changed: 価格が変わりました。ご確認のうえ、もう一度タップしてください。
no_key: このページでは受付を保持できません。安全なアドレス (https) が必要です。
dismiss: 閉じる
"""

_ARABIC: Final = """
offers: العروض
claim: أريده
reserve: احجز
claiming: لحظة…
settling: وصل طلبك. نؤكده الآن…
settled: أصبح لك.
number: رقم {n}
pay_at_pickup: ادفع {price} عند الاستلام.
held: محجوز لك: ادفع {price} للاحتفاظ به.
pay: ادفع {price}
credit_too_low: رصيدك لا يكفي.
hold_lapsed: انتهى وقت الدفع.
pass: اعرض هذا عند الاستلام
free: مجاني
left: بقي {n}
last_one: الأخير
sold_out: نفد
stock_unknown: نتحقق من المتوفر
not_fresh: المتوفر قبل {age} ث
opens: يبدأ بعد {time}
closes: ينتهي بعد {time}
closed: انتهى
your_claims: طلباتك
retrying: نحاول مجددًا…
offline: أنت غير متصل. نحتفظ بطلبك ونكمل تلقائيًا.
failed: لم ينجح ذلك.
try_again: حاول مجددًا
not_admitted_yet: ضغط كثيرون معًا. نواصل المحاولة من أجلك.
rate_limited: نقرات كثيرة من هنا في وقت قصير. نواصل المحاولة من أجلك.
cap_reached: لديك العدد الأقصى للشخص الواحد.
drop_not_open: لم يبدأ بعد.
drop_closed: انتهى العرض.
claim_expired: استغرق ذلك وقتًا طويلًا. اضغط مرة أخرى.
not_kept: هذا المتصفح لا يحفظ شيئًا: يبقى طلبك حتى تغلق الصفحة.
missed: سبقك أحدهم بلحظة: لم يبقَ شيء. لم يُخصم منك أي مبلغ.
price_changed: تغيّر السعر. اطّلع عليه ثم اضغط مرة أخرى.
no_key: لا يمكن لهذه الصفحة حفظ طلب: تحتاج إلى عنوان آمن (https).
dismiss: إغلاق
"""


def _table(text: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in text.strip().splitlines())
    return {key: words for key, _, words in lines}


TEXTS: Final[dict[str, dict[str, str]]] = {
    "ar": _table(_ARABIC),
    "de": _table(_GERMAN),
    "en": _table(_ENGLISH),
    "es": _table(_SPANISH),
    "fr": _table(_FRENCH),
    "ja": _table(_JAPANESE),
}


def texts_for(language: str) -> dict[str, str]:
    """Return the overlay's words in `language`, or in English."""
    return TEXTS.get(language, TEXTS[DEFAULT_LANGUAGE])
