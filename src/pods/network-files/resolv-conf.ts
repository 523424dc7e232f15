import { CodedError } from '../../kit/errors.ts';

/** What a resolv.conf says (resolv.conf(5)). */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/**
 * Reads resolv.conf as kubelet does (network/dns parseResolvConf): nameserver lines add up, the last search and the last
 * options line win, a search domain's trailing dot goes. kubelet reads at most 10 MiB of the file. Throws InvalidConfig for a nameserver line without an address.
 */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let searches: string[] = [];
  let options: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    switch (keyword) {
      case 'nameserver': {
        const address = values[0];
        if (address === undefined) {
          throw new CodedError('InvalidConfig', 'resolv.conf: a nameserver line has no address; want "nameserver IP"');
        }
        nameservers.push(address);
        break;
      }
      case 'search':
        // A lone dot means "no search list" and stays.
        searches = values.map((domain) => (domain === '.' ? domain : domain.replace(/\.$/, '')));
        break;
      case 'options':
        options = values;
        break;
    }
  }
  return { nameservers, searches, options };
}
