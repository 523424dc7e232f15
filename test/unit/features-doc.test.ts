import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const repository = new URL('../../', import.meta.url).pathname;

interface Row {
  readonly line: number;
  readonly fact: string;
  readonly state: string;
  readonly rest: string;
}

/** Rows of all tables; a line that begins a row and is none is a row of its own, with an empty state. */
function rowsOf(text: string): Row[] {
  return text.split('\n').flatMap((line, index) => {
    if (!line.startsWith('|') || /^\| (fact|---) \|/.test(line)) return [];
    const cells = /^\| ([^|]+) \| ([a-z]+) \| ([^|]+) \|$/.exec(line);
    const [, fact = line, state = '', rest = ''] = cells ?? [];
    return [{ line: index + 1, fact, state, rest }];
  });
}

interface Named {
  readonly path: string;
  readonly title: string;
}

/** "`path` › title + `path` › title"; undefined when the text is anything else. */
function testsOf(text: string): Named[] | undefined {
  const named: Named[] = [];
  for (const part of text.split(/ \+ (?=`)/)) {
    const found = /^`([^`]+)` › (\S.*)$/.exec(part);
    if (found === null) return undefined;
    named.push({ path: found[1] ?? '', title: found[2] ?? '' });
  }
  return named;
}

/** What is wrong with one row; undefined when nothing is. */
function complaint({ state, rest }: Row): string | undefined {
  if (!['done', 'partly', 'no'].includes(state)) return 'expected "| fact | done, partly or no | … |"';
  if (state !== 'done') {
    return /(^|\S )→ (issue [2-7](\.\d)?|not planned)$/.test(rest)
      ? undefined
      : 'expected what is missing, and "→ issue N.M" or "→ not planned" at the end';
  }
  const tests = testsOf(rest);
  if (tests === undefined) return 'expected "`path` › title", several joined by " + "';
  for (const { path, title } of tests) {
    // Checks in the virtual machine (npm run test:vm) are no files of vitest's.
    const file = `${repository}test/${path}${path.startsWith('vm/') ? '.ts' : '.test.ts'}`;
    if (!existsSync(file)) return `there is no ${file}`;
    const text = readFileSync(file, 'utf8');
    if (!["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`))) {
      return `test/${path}.test.ts has no test or table row ${JSON.stringify(title)}`;
    }
  }
  return undefined;
}

const rows = rowsOf(readFileSync(`${repository}docs/features.md`, 'utf8'));

describe('docs/features.md', () => {
  it('has a state in each row, and each test that it names is there', () => {
    const wrong = rows.flatMap((row) => {
      const why = complaint(row);
      return why === undefined ? [] : [`docs/features.md:${row.line}: ${row.fact}: ${why}`];
    });
    expect(wrong).toEqual([]);
    expect(rows.length).toBeGreaterThan(500);
  });

  it('has no row twice', () => {
    const seen = new Set<string>();
    const twice = rows.filter(({ fact }) => seen.size === seen.add(fact.trim().toLowerCase()).size);
    expect(twice.map(({ line, fact }) => `${line}: ${fact}`)).toEqual([]);
  });

  it.each([
    ['| a | done | `unit/features-doc` › has no row twice |', undefined],
    ['| a | done | `unit/features-doc` › has no row twice + `unit/features-doc` › finds: %s |', undefined],
    ['| a | done |  |', 'expected "| fact'],
    ['| a | maybe | x → not planned |', 'expected "| fact'],
    ['| a | done | it just works |', 'expected "`path`'],
    ['| a | done | `unit/nowhere` › x |', 'there is no'],
    ['| a | done | `unit/features-doc` › has no such |', 'has no test'],
    ['| a | partly | nearly |', 'expected what is missing'],
    ['| a | no | → issue 4.5 |', undefined],
    ['| a | no | refused → issue 9 |', 'expected what is missing'],
  ])('finds: %s', (line, why) => {
    const [row] = rowsOf(line);
    const found = row === undefined ? 'no row' : complaint(row);
    if (why === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(why);
  });
});
