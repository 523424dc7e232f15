import { expect, it } from 'vitest';
import { negotiateZPage } from '../../../src/api/node-info/z-page-forms.ts';

const OBJECT = 'as=Statusz;v=v1beta1;g=config.k8s.io';
const refused = {
  refused: 'only the following media types are accepted: application/json, application/yaml, text/plain',
};

it.each([
  [undefined, 'text'],
  ['', 'text'],
  ['text/plain', 'text'],
  ['*/*', 'text'],
  ['text/*', 'text'],
  ['application/json, */*', 'text'],
  [`application/json;${OBJECT}`, { type: 'application/json', version: 'v1beta1' }],
  [`application/yaml; ${OBJECT.replaceAll(';', '; ')}`, { type: 'application/yaml', version: 'v1beta1' }],
  [
    'application/json;as=Statusz;v=v1alpha1;g=config.k8s.io, text/plain',
    { type: 'application/json', version: 'v1alpha1' },
  ],
  [`text/plain;q=0.5, application/yaml;${OBJECT};q=0.9`, { type: 'application/yaml', version: 'v1beta1' }],
  [`text/plain, application/yaml;${OBJECT};q=0`, 'text'],
  ['application/json', refused],
  ['application/json;as=Flagz;v=v1beta1;g=config.k8s.io', refused],
  ['application/json;as=Statusz;v=v2;g=config.k8s.io', refused],
  ['application/json;as=Statusz;v=v1beta1;g=apps', refused],
  ['application/vnd.kubernetes.protobuf', refused],
  [`text/plain;${OBJECT}`, refused],
])('Accept %j', (accept, wanted) => {
  expect(negotiateZPage(accept, 'Statusz')).toEqual(wanted);
});
