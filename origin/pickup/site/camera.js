/** The camera, where the browser can read QR codes by itself (BarcodeDetector); elsewhere codes are typed. */

const LOOK_EVERY_MS = 150;

/**
 * @typedef {{detect: (video: HTMLVideoElement) => Promise<{rawValue: string}[]>}} Detector
 */

/** @returns {Promise<Detector | undefined>} */
const makeDetector = async () => {
  const { BarcodeDetector } = /** @type {any} */ (globalThis);
  const formats = (await BarcodeDetector?.getSupportedFormats().catch(() => [])) ?? [];
  return formats.includes("qr_code") ? new BarcodeDetector({ formats: ["qr_code"] }) : undefined;
};

/**
 * Look through the camera for as long as the page is open.
 *
 * @param {HTMLVideoElement} video
 * @param {() => boolean} wanted whether somebody waits for a code now
 * @param {(text: string) => void} found
 * @returns {Promise<string | undefined>} why there is no camera
 */
export const watch = async (video, wanted, found) => {
  const detector = await makeDetector();
  if (!detector) return "This browser cannot read QR codes. Type the code under it.";
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch {
    return "There is no camera that may be used. Type the code under the QR code.";
  }
  video.play().catch(() => {}); // a picture that starts late is looked at when it has
  const look = async () => {
    if (wanted() && !document.hidden) {
      const [code] = await detector.detect(video).catch(() => []);
      if (code && wanted()) found(code.rawValue);
    }
    setTimeout(look, LOOK_EVERY_MS);
  };
  look();
};
