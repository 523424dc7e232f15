export function startOf(unit: string): {
  readonly env: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
};
