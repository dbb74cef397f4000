/**
 * The demo's film: a night market under lanterns, drawn frame by frame on a canvas.
 *
 * `paint(context, phase)` draws the instant `phase` (0 to 1) of a loop: every motion repeats a whole number of times in it, so
 * the last frame meets the first.
 */

const WIDTH = 540;
const HEIGHT = 960;
const TURN = 2 * Math.PI;
const HORIZON = 520;

/** @typedef {CanvasRenderingContext2D} Context */

/**
 * A fixed pseudo-random number, so that every frame has the same houses and people.
 *
 * @param {number} seed
 */
const chance = (seed) => {
  const wave = Math.sin(seed * 127.1) * 43758.5453;
  return wave - Math.floor(wave);
};

/**
 * @param {Context} context
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 * @param {string} colour as "r, g, b"
 * @param {number} strength 0 to 1
 */
const glow = (context, x, y, radius, colour, strength) => {
  const light = context.createRadialGradient(x, y, 0, x, y, radius);
  light.addColorStop(0, `rgba(${colour}, ${strength})`);
  light.addColorStop(1, `rgba(${colour}, 0)`);
  context.fillStyle = light;
  context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
};

/** @param {Context} context */
const sky = (context) => {
  const air = context.createLinearGradient(0, 0, 0, HORIZON + 40);
  for (const [stop, colour] of /** @type {[number, string][]} */ ([
    [0, "#0b1230"],
    [0.45, "#23265c"],
    [0.75, "#5b3a6e"],
    [1, "#c2684f"],
  ])) {
    air.addColorStop(stop, colour);
  }
  context.fillStyle = air;
  context.fillRect(0, 0, WIDTH, HORIZON + 40);
};

/**
 * Houses on both sides, lower and closer together towards the end of the street.
 *
 * @param {Context} context
 * @param {number} phase
 */
const houses = (context, phase) => {
  for (const side of [-1, 1]) {
    for (let index = 0; index < 6; index++) {
      const near = 1 - index / 6;
      const inner = WIDTH / 2 + side * (26 + 230 * near * near);
      const outer = WIDTH / 2 + side * (60 + 330 * near);
      const top = HORIZON - 60 - 330 * near * (0.75 + 0.35 * chance(index + side * 9));
      context.fillStyle = `rgb(${18 + 14 * (1 - near)}, ${16 + 12 * (1 - near)}, ${38 + 22 * (1 - near)})`;
      context.fillRect(Math.min(inner, outer), top, Math.abs(outer - inner), HORIZON - top + 60);
      for (let row = 0; row < 6; row++) {
        for (let column = 0; column < 3; column++) {
          const seed = index * 31 + row * 7 + column * 3 + side;
          if (chance(seed) < 0.55) continue;
          const flicker = 0.75 + 0.25 * Math.sin(TURN * (phase * Math.ceil(3 * chance(seed + 1)) + chance(seed + 2)));
          context.fillStyle = `rgba(255, ${190 + 40 * chance(seed)}, 120, ${0.55 * flicker})`;
          const size = 5 + 9 * near;
          const step = Math.abs(outer - inner) / 3.4;
          context.fillRect(Math.min(inner, outer) + 8 + column * step, top + 16 + row * size * 3.2, size, size * 1.5);
        }
      }
    }
  }
};

/**
 * The street: wet, so that the lanterns are seen in it.
 *
 * @param {Context} context
 */
const street = (context) => {
  const ground = context.createLinearGradient(0, HORIZON, 0, HEIGHT);
  ground.addColorStop(0, "#6a3f4e");
  ground.addColorStop(0.25, "#2c2346");
  ground.addColorStop(1, "#0d0f24");
  context.fillStyle = ground;
  context.fillRect(0, HORIZON, WIDTH, HEIGHT - HORIZON);
  context.strokeStyle = "rgba(255, 220, 180, 0.07)";
  context.lineWidth = 2;
  for (let line = 1; line < 9; line++) {
    const y = HORIZON + 440 * (line / 9) ** 2;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(WIDTH, y);
    context.stroke();
  }
};

/**
 * @param {Context} context
 * @param {number} phase
 */
const stalls = (context, phase) => {
  for (const near of [0.3, 0.55, 1]) {
    for (const side of [-1, 1]) {
      const width = 190 * near;
      const x = WIDTH / 2 + side * (50 + 165 * near) - width / 2;
      const y = HORIZON - 10 - 66 * near;
      glow(context, x + width / 2, y + 70 * near, 150 * near, "255, 176, 92", 0.5);
      context.fillStyle = "#1a1226";
      context.fillRect(x, y + 78 * near, width, 92 * near);
      context.fillStyle = "#ffcf8a";
      context.fillRect(x + 8 * near, y + 30 * near, width - 16 * near, 48 * near);
      for (let item = 0; item < 6; item++) {
        context.fillStyle = ["#c8442f", "#2f6d62", "#e9a13b", "#7c3f6b"][(item + Math.round(near * 9)) % 4];
        context.fillRect(
          x + (14 + item * 28) * near,
          y + (52 - 14 * chance(item * near + side)) * near,
          20 * near,
          40 * near,
        );
      }
      const stripes = 8;
      for (let stripe = 0; stripe < stripes; stripe++) {
        const wave = 3 * near * Math.sin(TURN * (2 * phase + stripe / stripes + near));
        context.fillStyle = stripe % 2 ? "#f3e2c8" : "#b8352a";
        context.beginPath();
        context.moveTo(x + (stripe * width) / stripes, y - 8 * near);
        context.lineTo(x + ((stripe + 1) * width) / stripes, y - 8 * near);
        context.lineTo(x + ((stripe + 1) * width) / stripes + 2 * side, y + 30 * near + wave);
        context.lineTo(x + (stripe * width) / stripes + 2 * side, y + 30 * near + wave);
        context.fill();
      }
    }
  }
};

/**
 * @param {Context} context
 * @param {number} phase
 */
const people = (context, phase) => {
  for (let index = 0; index < 7; index++) {
    const near = 0.35 + 0.5 * chance(index + 40);
    const way = index % 2 ? 1 : -1;
    const across = (chance(index + 3) + way * phase + 2) % 1;
    const x = WIDTH * (-0.15 + 1.3 * across);
    const foot = HORIZON + 40 + 190 * near + 3 * Math.abs(Math.sin(TURN * 10 * phase + index));
    const tall = 170 * near;
    context.fillStyle = `rgba(12, 10, 26, ${0.8 + 0.2 * near})`;
    context.beginPath();
    context.ellipse(x, foot - tall * 0.88, tall * 0.085, tall * 0.1, 0, 0, TURN);
    context.roundRect(x - tall * 0.13, foot - tall * 0.77, tall * 0.26, tall * 0.45, tall * 0.1);
    context.fill();
    const stride = tall * 0.1 * Math.sin(TURN * 10 * phase + index);
    context.lineWidth = tall * 0.09;
    context.lineCap = "round";
    context.strokeStyle = context.fillStyle;
    for (const leg of [-1, 1]) {
      context.beginPath();
      context.moveTo(x, foot - tall * 0.36);
      context.lineTo(x + leg * stride, foot);
      context.stroke();
    }
  }
};

/**
 * @param {Context} context
 * @param {number} x
 * @param {number} y
 * @param {number} size
 * @param {number} sway
 * @param {number} light
 */
const lantern = (context, x, y, size, sway, light) => {
  glow(context, x + sway, y + size, size * 3, "255, 120, 60", 0.42 * light);
  context.save();
  context.translate(x, y);
  context.rotate(-sway / (size * 3));
  context.fillStyle = "#3a1a14";
  context.fillRect(-size * 0.3, size * 0.12, size * 0.6, size * 0.16);
  context.fillRect(-size * 0.3, size * 1.72, size * 0.6, size * 0.16);
  const paper = context.createRadialGradient(0, size, size * 0.1, 0, size, size);
  paper.addColorStop(0, "#ffe3a0");
  paper.addColorStop(0.5, "#f77f3c");
  paper.addColorStop(1, "#b92a22");
  context.fillStyle = paper;
  context.beginPath();
  context.ellipse(0, size, size * 0.86, size * 0.8, 0, 0, TURN);
  context.fill();
  context.strokeStyle = "rgba(90, 15, 15, 0.35)";
  context.lineWidth = size * 0.035;
  for (const rib of [0.28, 0.58]) {
    context.beginPath();
    context.ellipse(0, size, size * 0.86 * rib, size * 0.8, 0, 0, TURN);
    context.stroke();
  }
  context.strokeStyle = "#e9a13b";
  context.lineWidth = size * 0.06;
  context.beginPath();
  context.moveTo(0, size * 1.86);
  context.lineTo(-sway * 0.2, size * 2.4);
  context.stroke();
  context.restore();
};

/**
 * Strings of lanterns across the street, the far ones first, and what the wet ground shows of them.
 *
 * @param {Context} context
 * @param {number} phase
 */
const strings = (context, phase) => {
  for (const [index, near] of [0.22, 0.34, 0.52, 0.78, 1.15].entries()) {
    const height = HORIZON - 90 - 350 * near;
    const reach = 70 + 250 * near;
    context.strokeStyle = "rgba(10, 8, 20, 0.9)";
    context.lineWidth = 1 + 2 * near;
    context.beginPath();
    context.moveTo(WIDTH / 2 - reach, height - 20 * near);
    context.quadraticCurveTo(WIDTH / 2, height + 96 * near, WIDTH / 2 + reach, height - 20 * near);
    context.stroke();
    const count = 5;
    for (let place = 0; place < count; place++) {
      const along = (place + 0.5) / count;
      const x = WIDTH / 2 + reach * (2 * along - 1);
      const y = height - 20 * near + 4 * 58 * near * along * (1 - along);
      const beat = 1 + ((place + index) % 2);
      const sway = 9 * near * Math.sin(TURN * (beat * phase + place / count + index / 5));
      const light = 0.85 + 0.15 * Math.sin(TURN * (3 * phase + chance(place + index * 5)));
      lantern(context, x, y, 34 * near, sway, light);
      const mirror = HORIZON + 60 + (HORIZON - y) * 0.55;
      if (mirror < HEIGHT) glow(context, x + sway, mirror, 70 * near, "255, 120, 60", 0.16 * light);
    }
  }
};

/**
 * @param {Context} context
 * @param {number} phase
 */
const sparks = (context, phase) => {
  for (let index = 0; index < 26; index++) {
    const rise = (phase * (1 + (index % 2)) + chance(index)) % 1;
    const x = WIDTH * chance(index + 60) + 18 * Math.sin(TURN * (phase + chance(index + 7)));
    const size = 1 + 2 * chance(index + 11);
    context.fillStyle = `rgba(255, 196, 120, ${0.7 * Math.sin(Math.PI * rise)})`;
    context.beginPath();
    context.arc(x, HEIGHT * (1 - rise), size, 0, TURN);
    context.fill();
  }
};

/**
 * @param {Context} context
 * @param {number} phase 0 to 1
 */
const paint = (context, phase) => {
  sky(context);
  glow(context, WIDTH / 2, HORIZON, 300, "255, 150, 90", 0.6);
  houses(context, phase);
  street(context);
  stalls(context, phase);
  people(context, phase);
  strings(context, phase);
  sparks(context, phase);
};

Object.assign(window, { paint });
