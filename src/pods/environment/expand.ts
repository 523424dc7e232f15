/**
 * Replaces `$(NAME)` by its value, `$$` by one dollar sign; everything else stays as it is, also a reference that
 * `lookup` does not know and one that is never closed (k8s.io/kubernetes third_party/forked/golang/expansion).
 * `$$(NAME)` is therefore the way to write a literal `$(NAME)`.
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  let from = 0;
  let result = '';
  for (;;) {
    const dollar = text.indexOf('$', from);
    if (dollar === -1 || dollar === text.length - 1) return result + text.slice(from);
    result += text.slice(from, dollar);
    const next = text[dollar + 1];
    const end = next === '(' ? text.indexOf(')', dollar + 2) : -1;
    if (next === '$') {
      result += '$';
      from = dollar + 2;
    } else if (end !== -1) {
      const name = text.slice(dollar + 2, end);
      result += lookup(name) ?? `$(${name})`;
      from = end + 1;
    } else {
      // Not a reference: the dollar and its neighbour stand for themselves.
      result += text.slice(dollar, dollar + 2);
      from = dollar + 2;
    }
  }
}

/** Expands each of a container's command words or arguments. */
export function expandAll(
  words: readonly string[] | undefined,
  environment: Readonly<Record<string, string>>,
): readonly string[] {
  return (words ?? []).map((word) => expand(word, (name) => ownValue(environment, name)));
}

/** Like expand, but names the references that have no value: subPathExpr must not contain any. */
export function expandKnown(
  text: string,
  environment: Readonly<Record<string, string>>,
): { readonly text: string; readonly missing: readonly string[] } {
  const missing: string[] = [];
  const expanded = expand(text, (name) => {
    const value = ownValue(environment, name);
    if (value === undefined) missing.push(name);
    return value;
  });
  return { text: expanded, missing };
}

// A variable may be called "constructor" or "__proto__": only what was put in counts.
function ownValue(environment: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(environment, name) ? environment[name] : undefined;
}
