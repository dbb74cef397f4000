// Modules of the edge worker that exist only when it runs: data, compiled modules, and stock Pyodide.

declare module "*.bin" {
  const contents: ArrayBuffer;
  export default contents;
}

declare module "*.zip" {
  const contents: ArrayBuffer;
  export default contents;
}

declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

declare module "*/pyodide-lock.json" {
  const contents: string;
  export default contents;
}

declare module "*/pyodide.asm.mjs" {
  const createPyodideModule: (settings: unknown) => Promise<unknown>;
  export default createPyodideModule;
}

declare module "*/pyodide.mjs" {
  export function loadPyodide(options: {
    stdout: (line: string) => void;
    stderr: (line: string) => void;
    fsInit: (FS: unknown) => Promise<void>;
    createPyodideModule: (settings: unknown) => Promise<unknown>;
    [option: string]: unknown;
    // biome-ignore lint/suspicious/noExplicitAny: Pyodide's own interface, of which the host uses little
  }): Promise<any>;
}

declare module "*/generated.mjs" {
  export const known: Map<string, WebAssembly.Module>;
}

declare module "*/rate_limits.mjs" {
  export const limits: Record<string, import("./rate_limiter.mjs").Simple>;
}

declare module "*/assets.mjs" {
  export const assets: Map<string, { body: ArrayBuffer; headers: Record<string, string> }>;
}

declare namespace Cloudflare {
  /** Settings of a self-hosted node, where they are not read from what a request brings. */
  interface Env {
    ORIGIN_URL: string;
    EDGE_KEY?: string;
    COLO?: string;
    COUNTRY?: string;
    COUNTRY_HEADER?: string;
  }
}
