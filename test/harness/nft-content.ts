/**
 * What a listing of our table means, whatever the order of elements and of things, and whichever place each endpoint
 * has among those of its frontend: one line for each rule, element and definition.
 */
export function contentOf(listing: string): string[] {
  const lines: string[] = [];
  const head = /^\t(chain|map|set) (\S+) \{\n([\s\S]*?)^\t\}/gm;
  for (const [, kind = '', name = '', body = ''] of listing.matchAll(head)) {
    if (kind === 'chain') {
      lines.push(...body.split('\n').map((line, index) => `chain ${name} ${index} ${line.trim()}`.trim()));
      continue;
    }
    const [definition = '', elements = ''] = body.split('elements = {');
    lines.push(`${kind} ${name} ${definition.replace(/\s+/g, ' ').trim()}`);
    // What the kernel itself notes of clients is chance.
    if (name.startsWith('affinity/')) continue;
    const family = name.replace(/endpoints\/\d+$/, 'endpoints');
    for (const element of elements.replace(/\}\s*$/, '').split(',')) {
      if (element.trim() !== '') lines.push(`${family} { ${element.trim()} }`);
    }
  }
  const chains = new Map(
    [...listing.matchAll(/([0-9a-f]+:[0-9a-f]+) : goto (\S+?)[,\s]/g)].map(([, number = '', chain = '']) => [
      number,
      chain,
    ]),
  );
  return lines
    .map((line) => line.replace(/ : ([0-9a-f]+:[0-9a-f]+) /, (_all, number) => ` : goto ${chains.get(number)} `))
    .sort();
}
