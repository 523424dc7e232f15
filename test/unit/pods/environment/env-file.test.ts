import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../../../src/kit/errors.ts';
import type { EnvVar } from '../../../../src/model/pod.ts';
import { envFileValue } from '../../../../src/pods/environment/env-file.ts';
import { type EnvFile, resolveEnvironment } from '../../../../src/pods/environment/resolve-environment.ts';
import { container, pod } from '../builders.ts';

const DOLLARS = ['$A $', '{B} $(C) `d`'].join('');
// What is asked for is always K.
const good: [string, string, string][] = [
  ['one line', "K='v'", 'v'],
  ['a line feed at the end', "K='v'\n", 'v'],
  ['others before and behind', "A='a'\nK='v'\nB='b'\n", 'v'],
  ['the first of two', "K='one'\nK='two'\n", 'one'],
  ['blanks before the name', "  \t K='v'\n", 'v'],
  ['empty and blank lines', "\n   \n\t\nK='v'\n", 'v'],
  ['comments, also behind blanks', "# K='no'\n  # more\nK='v'\n", 'v'],
  ['a comment behind the value', "K='v' # said\n", 'v'],
  ['a comment right behind the quote', "K='v'#said\n", 'v'],
  ['blanks behind the value', "K='v' \t \n", 'v'],
  ['a # in the value', "K='a#b'\n", 'a#b'],
  ['= in the value', "K='a=b=c'\n", 'a=b=c'],
  ['dollars stand for themselves', `K='${DOLLARS}'\n`, DOLLARS],
  ['backslashes stand for themselves', "K='a\\nb\\\\'\n", 'a\\nb\\\\'],
  ['double quotes', 'K=\'say "x"\'\n', 'say "x"'],
  ['blanks in the value', "K='  a  '\n", '  a  '],
  ['other alphabets', "K='жук 🪲'\n", 'жук 🪲'],
  ['several lines', "K='a\nb\n\n c'\nB='b'\n", 'a\nb\n\n c'],
  ['several lines of another before it', "A='x\nK=no\ny'\nK='v'\n", 'v'],
  ['what is spoilt behind the key is not looked at', "K='v'\nnonsense\n", 'v'],
  ['a name that begins alike', "KK='no'\nK='v'\n", 'v'],
  ['names are not judged', "1-x.y='no'\nK='v'\n", 'v'],
];
const absent: [string, string][] = [
  ['no such key', "A='a'\n"],
  ['an empty file', ''],
  ['an empty value', "K=''\n"],
  ['a blank behind =, as in a shell', "K= 'v'\n"],
  ['a blank behind = of the first, whatever comes later', "K=  'v'\nK='late'\n"],
  ['only comments', '# a\n# b\n'],
];
const wrong: [string, string, string][] = [
  ['text right behind', "K='v'x", 'line 1: unexpected content after closing quote'],
  ['a word', 'word\n', "line 1: missing '='"],
  ['a word further on', "A='a'\n\nword\nK='v'\n", "line 3: missing '='"],
  ['no name', "='v'\n", 'line 1: empty variable name'],
  ['a blank for a name', "  ='v'\n", 'line 1: empty variable name'],
  ['a blank before =', "K ='v'\n", "line 1: whitespace before '=' is not allowed"],
  ['no quotes', 'K=v\n', 'line 1: value must be enclosed in single quotes'],
  ['nothing at all', 'K=\n', 'line 1: value must be enclosed in single quotes'],
  ['double quotes', 'K="v"\n', 'line 1: value must be enclosed in single quotes'],
  ['two strings', "K='a''b'\n", 'line 1: unexpected content after closing quote'],
  ['text behind', "K='a' b\n", 'line 1: unexpected content after closing quote'],
  ['never closed', "A='a'\nK='v\nmore\n", 'starting at line 2: unclosed single quote'],
  ['a line of 64 KiB', `K='${'x'.repeat(65_536)}'\n`, 'line 1 is too long'],
];

describe('envFileValue', () => {
  it.each(good)('%s', (_name, text, value) => {
    expect(envFileValue(text, 'K')).toBe(value);
  });
  it.each(absent)('%s: none', (_name, text) => {
    expect(envFileValue(text, 'K')).toBe('');
  });
  it.each(wrong)('%s is refused', (_name, text, why) => {
    expect(() => envFileValue(text, 'K')).toThrow(why);
  });

  it('reads what it takes as a POSIX shell does', () => {
    const folder = mkdtempSync(join(tmpdir(), 'dh-env-'));
    try {
      const asShell = good.filter(([name]) => !/spoilt|first of two|right behind|not judged/.test(name));
      for (const [name, text, value] of asShell) {
        writeFileSync(join(folder, 'env'), text);
        const said = execFileSync('sh', ['-c', `. ${folder}/env; printf %s "$K"`]).toString();
        expect(said, name).toBe(value);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('fileKeyRef', () => {
  const resolve = (files: EnvFile[], optional = false) => {
    const ref = { volumeName: 'v', path: 'dir/env', key: 'K', optional };
    const env: EnvVar[] = [
      { name: 'FROM', valueFrom: { fileKeyRef: ref } },
      { name: 'AFTER', value: 'is $(FROM)' },
    ];
    const main = container('a', { env });
    return resolveEnvironment(pod({ containers: [main], enableServiceLinks: false }), main, {
      configMaps: new Map(),
      secrets: new Map(),
      services: [],
      nodeName: 'n',
      podIPs: [],
      hostIPs: [],
      allocatable: {},
      files,
    }).map(({ key, value }) => `${key}=${value}`);
  };
  const file = (content: EnvFile['content']): EnvFile[] => [{ volumeName: 'v', path: 'dir/env', content }];

  it('is a variable like any other', () => {
    expect(resolve(file("K='v'\n"))).toEqual(['FROM=v', 'AFTER=is v']);
  });

  it('an optional key that is not there leaves the variable out', () => {
    expect(resolve(file("A='v'\n"), true)).toEqual(['AFTER=is $(FROM)']);
  });

  it.each([
    ['no such key', file("A='v'\n"), 'environment variable key "K" not found in file "dir/env"'],
    ['a spoilt file', file('nonsense'), "couldn't parse env file: invalid environment variable format at line 1"],
    ['no file', file(new CodedError('NotFound', 'it is not there')), "couldn't parse env file: it is not there"],
    ['no volume', [], 'cannot find the volume "v" referenced by FileKeyRef'],
  ])('%s keeps the container from starting', (_name, files, why) => {
    expect(() => resolve(files)).toThrow(why);
  });

  it('optional is the key, not the file', () => {
    expect(() => resolve(file(new CodedError('NotFound', 'it is not there')), true)).toThrow('it is not there');
  });
});
