/** A chain as it stands in the kernel. */
export interface ListedChain {
  readonly hook: string | undefined;
  readonly rules: readonly string[];
}

export interface ListedTable {
  readonly chains: Map<string, ListedChain>;
  /** Sets and maps by name: their definitions, as container definitions are written. */
  readonly containers: Map<string, string>;
  /** Container → key → value ("" in sets). */
  readonly elements: Map<string, Map<string, string>>;
}

const elementsHead = 'elements = {';

/** Reads what `nft -n list table` printed. `wanted`: whether a container's elements are looked at. */
export function parseTable(text: string, wanted: (container: string) => boolean): ListedTable {
  const table: ListedTable = { chains: new Map(), containers: new Map(), elements: new Map() };
  const head = /^\t(chain|map|set) (\S+) \{$/gm;
  for (let found = head.exec(text); found !== null; found = head.exec(text)) {
    const [, kind, name = ''] = found;
    const end = text.indexOf('\n\t}', head.lastIndex);
    const body = text.slice(head.lastIndex, end);
    if (kind === 'chain') table.chains.set(name, chainOf(linesOf(body)));
    else {
      const start = body.indexOf(elementsHead);
      table.containers.set(name, linesOf(start === -1 ? body : body.slice(0, start)).join('; '));
      if (wanted(name)) table.elements.set(name, start === -1 ? new Map() : elementsOf(body, start));
    }
    head.lastIndex = end;
  }
  return table;
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function chainOf(lines: readonly string[]): ListedChain {
  const [first = '', ...others] = lines;
  return first.startsWith('type ') ? { hook: first, rules: others } : { hook: undefined, rules: lines };
}

function elementsOf(body: string, start: number): Map<string, string> {
  const elements = new Map<string, string>();
  // No element has a brace or a comma in it.
  const text = body.slice(start + elementsHead.length, body.lastIndexOf('}'));
  for (const element of text.split(',')) {
    const [key = '', value = ''] = element.trim().split(' : ');
    elements.set(key, value);
  }
  return elements;
}
