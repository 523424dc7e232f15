const pod = (spec: object): object => ({ spec });
const containers = (...names: string[]): object[] => names.map((name) => ({ name, image: `${name}:1` }));

/** Title, object, patch, result. The results are those of apimachinery: test/host/kubectl-patch.test.ts asks kubectl. */
export const strategicCases: [title: string, target: object, patch: object, result: object][] = [
  [
    'merges list items by their key; one that is new comes first',
    pod({ containers: containers('a', 'b') }),
    { spec: { containers: [{ name: 'c', image: 'c:1' }] } },
    pod({ containers: containers('c', 'a', 'b') }),
  ],
  [
    'merges into an item and leaves its place',
    pod({ containers: containers('a', 'b', 'c') }),
    { spec: { containers: [{ name: 'b', image: 'b:2', env: [{ name: 'X', value: '1' }] }] } },
    pod({
      containers: [
        { name: 'a', image: 'a:1' },
        { name: 'b', image: 'b:2', env: [{ name: 'X', value: '1' }] },
        { name: 'c', image: 'c:1' },
      ],
    }),
  ],
  [
    'deletes an item by its key',
    pod({ containers: containers('a', 'b') }),
    { spec: { containers: [{ $patch: 'delete', name: 'a' }] } },
    pod({ containers: containers('b') }),
  ],
  [
    'replaces a list as a whole',
    pod({ containers: containers('a', 'b') }),
    { spec: { containers: [{ $patch: 'replace' }, { name: 'z', image: 'z:1' }] } },
    pod({ containers: containers('z') }),
  ],
  [
    'replaces lists without a strategy',
    pod({ tolerations: [{ key: 'a' }], containers: [] }),
    { spec: { tolerations: [{ key: 'b' }] } },
    pod({ tolerations: [{ key: 'b' }], containers: [] }),
  ],
  [
    'replaces and deletes objects by directive',
    { spec: { securityContext: { runAsUser: 1, fsGroup: 2 }, dnsConfig: { searches: ['a'] } } },
    { spec: { securityContext: { $patch: 'replace', runAsUser: 3 }, dnsConfig: { $patch: 'delete' } } },
    { spec: { securityContext: { runAsUser: 3 }, dnsConfig: {} } },
  ],
  [
    'unites lists of scalars and takes values away',
    { metadata: { finalizers: ['a', 'b', 'c'] } },
    { metadata: { '$deleteFromPrimitiveList/finalizers': ['b'], finalizers: ['d', 'c'] } },
    { metadata: { finalizers: ['d', 'a', 'c'] } },
  ],
  [
    'puts items in the order that is set, around what only the server has',
    pod({ containers: containers('a', 'b', 'server', 'c') }),
    { spec: { '$setElementOrder/containers': [{ name: 'c' }, { name: 'b' }, { name: 'a' }] } },
    pod({ containers: containers('server', 'c', 'b', 'a') }),
  ],
  [
    'orders and merges at once, as kubectl apply does',
    pod({ containers: containers('a', 'b') }),
    {
      spec: {
        '$setElementOrder/containers': [{ name: 'a' }, { name: 'new' }, { name: 'b' }],
        containers: [
          { name: 'new', image: 'new:1' },
          { name: 'b', image: 'b:2' },
        ],
      },
    },
    pod({
      containers: [
        { name: 'a', image: 'a:1' },
        { name: 'new', image: 'new:1' },
        { name: 'b', image: 'b:2' },
      ],
    }),
  ],
  [
    'keeps only the keys of a union that are retained',
    pod({ volumes: [{ name: 'v', emptyDir: { medium: 'Memory' } }] }),
    { spec: { volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } }] } },
    pod({ volumes: [{ name: 'v', hostPath: { path: '/x' } }] }),
  ],
  [
    'deletes by null and drops nulls that meet nothing',
    { metadata: { labels: { a: '1', b: '2' } } },
    { metadata: { labels: { a: null, c: null }, annotations: { x: null, y: '1' } } },
    { metadata: { labels: { b: '2' }, annotations: { y: '1' } } },
  ],
];
