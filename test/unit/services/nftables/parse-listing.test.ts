import { describe, expect, it } from 'vitest';
import { parseTable } from '../../../../src/services/delta/nftables/parse-listing.ts';

const listing = `table ip6 deckhand {
	map service-ips {
		type ipv6_addr . inet_proto . inet_service : verdict
		elements = { fd00::1 . 6 . 80 : goto vip/2,
			     fd00::2 . 17 . 53 : drop, fd00::3 . 6 . 80 : goto vip/2 }
	}

	set cluster-ips {
		type ipv6_addr
		elements = { fd00::1 }
	}

	set affinity/00ff {
		type ipv6_addr
		size 65535
		flags dynamic,timeout
		elements = { fd01::9 timeout 10800s expires 10799s }
	}

	map endpoints/0 {
		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
	}

	chain refuse {
		reject
	}

	chain empty {
	}

	chain nat-prerouting {
		type nat hook prerouting priority -100; policy accept;
		jump services
	}
}
`;

function whole<T>(steps: Generator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

describe('parseTable', () => {
  const table = whole(parseTable(listing, (name) => !name.startsWith('affinity/')));

  it('reads chains with and without a hook', () => {
    expect([...table.chains]).toEqual([
      ['refuse', { hook: undefined, rules: ['reject'] }],
      ['empty', { hook: undefined, rules: [] }],
      ['nat-prerouting', { hook: 'type nat hook prerouting priority -100; policy accept;', rules: ['jump services'] }],
    ]);
  });

  it('reads definitions', () => {
    expect(Object.fromEntries(table.containers)).toEqual({
      'service-ips': 'type ipv6_addr . inet_proto . inet_service : verdict',
      'cluster-ips': 'type ipv6_addr',
      'affinity/00ff': 'type ipv6_addr; size 65535; flags dynamic,timeout',
      'endpoints/0': 'type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service',
    });
  });

  it('reads elements, of those that are asked for', () => {
    expect([...table.elements.keys()]).toEqual(['service-ips', 'cluster-ips', 'endpoints/0']);
    expect([...(table.elements.get('service-ips') ?? [])]).toEqual([
      ['fd00::1 . 6 . 80', 'goto vip/2'],
      ['fd00::2 . 17 . 53', 'drop'],
      ['fd00::3 . 6 . 80', 'goto vip/2'],
    ]);
    expect([...(table.elements.get('cluster-ips') ?? [])]).toEqual([['fd00::1', '']]);
    expect(table.elements.get('endpoints/0')?.size).toBe(0);
  });
});
