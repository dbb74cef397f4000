// What the benchmark writes beside the workers.

declare module "*/words.json" {
  const words: Record<string, Record<string, string>>;
  export default words;
}
