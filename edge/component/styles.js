/** The component's style sheet: constructed, so that a page's strict content security policy holds. */

const CSS = `
:host{display:block;position:relative;pointer-events:none}
:host([hidden]),[hidden],.over::slotted([data-fallback]){display:none!important}
::slotted(*){display:block;max-inline-size:100%;pointer-events:auto}
section{--ink:#14171a;--soft:#4a5158;--paper:#fff;--line:#d5dadf;--accent:var(--cliptill-accent,#0b5c4a);
position:absolute;inset-block-end:var(--cliptill-inset,4.5rem);inset-inline-end:.75rem;box-sizing:border-box;
inline-size:min(22rem,100% - 1.5rem);max-block-size:60%;overflow:auto;
pointer-events:auto;padding:0 .9rem;border:1px solid var(--line);border-radius:.9rem;background:var(--paper);color:var(--ink);
font:1rem/1.4 system-ui,sans-serif;overflow-wrap:anywhere}
.below{position:static;inline-size:auto;max-block-size:none;margin-block-start:.5rem}
h2,h3,p,ul{margin:0;padding:0;list-style:none;font-size:1rem}
button,summary,a{min-block-size:2.75rem;padding-block:.6rem;box-sizing:border-box;font:inherit;font-weight:600;cursor:pointer}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
button{min-inline-size:6.5rem;max-inline-size:100%;padding-inline:.75rem;border:1px solid var(--accent);border-radius:.6rem;background:var(--accent);color:var(--paper)}
h2 button{display:flex;justify-content:space-between;gap:1rem;inline-size:100%;padding-inline:0;border:0;background:none;color:inherit;text-align:start}
h2 button::after{content:"▾";content:"▾"/""}
[aria-expanded=false]::after{rotate:180deg}
li{display:flex;flex-wrap:wrap;gap:.4rem .75rem;padding-block:.6rem;align-items:center}
li,details{border-block-start:1px solid var(--line)}
li>div{flex:1 1 8rem}
li>p{flex-basis:100%}
img{inline-size:3.5rem;block-size:3.5rem;border-radius:.6rem;object-fit:cover}
p,nav,details{font-size:.875rem;color:var(--soft)}
.facts,nav{display:flex;flex-wrap:wrap;gap:0 .75rem;font-variant-numeric:tabular-nums}
b{color:var(--ink)}
[aria-disabled=true]{background:none;color:var(--soft);border-color:var(--line);cursor:default}
.settled{color:var(--accent);font-weight:600}
a{color:inherit}
[role=status]{position:absolute;inline-size:1px;block-size:1px;overflow:hidden;clip-path:inset(50%)}
@media(prefers-color-scheme:dark){section{--ink:#f2f4f5;--soft:#b7c0c7;--paper:#181c20;--line:#3a424a;--accent:var(--cliptill-accent-dark,#7fdcc0)}}
@media(prefers-reduced-motion:no-preference){section{animation:in .25s;scroll-behavior:smooth}
@keyframes in{from{opacity:0;translate:0 .75rem}}
[aria-busy=true]{animation:busy 1s infinite alternate}
@keyframes busy{to{opacity:.5}}}
@media(forced-colors:active){[aria-disabled=true]{color:GrayText}}
`;

/** @type {CSSStyleSheet | undefined} */
let made;

/** @returns {CSSStyleSheet} one for all overlays of the page */
export const sheet = () => {
  if (!made) {
    made = new CSSStyleSheet();
    made.replaceSync(CSS);
  }
  return made;
};
