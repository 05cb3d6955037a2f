/** Draws the pictures of docs/concepts: `node docs/pictures/draw.mjs`. Boxes and arrows stand here, not in the SVG. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const INK = '#1f2933';
const FILLS = { pod: '#e8f1fb', mesh: '#e6f6ec', control: '#fdf1dd', kernel: '#eeecf8', plain: '#ffffff' };

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

/** A box with a title and lines below it. */
function box(x, y, width, height, fill, title, lines = []) {
  const texts = lines.map(
    (line, i) => `<text x="${x + 12}" y="${y + 40 + i * 17}" font-size="12">${escaped(line)}</text>`,
  );
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="8" fill="${FILLS[fill]}" stroke="${INK}"/>`,
    `<text x="${x + 12}" y="${y + 21}" font-size="13" font-weight="700">${escaped(title)}</text>`,
    ...texts,
  ].join('\n');
}

/** An arrow along points, with a label at a place. */
function arrow(points, label, at, { both = false, strong = false } = {}) {
  const path = points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x} ${y}`).join(' ');
  const text =
    label === undefined
      ? ''
      : label
          .split('\n')
          .map((line, i) => `<text x="${at[0]}" y="${at[1] + i * 15}" font-size="12">${escaped(line)}</text>`)
          .join('\n');
  return `<path d="${path}" fill="none" stroke="${strong ? '#147d4f' : INK}" stroke-width="${strong ? 3 : 1.5}" marker-end="url(#end)"${both ? ' marker-start="url(#end)"' : ''}/>\n${text}`;
}

function svg(width, height, title, parts) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" font-family="sans-serif" fill="${INK}">
<title>${escaped(title)}</title>
<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="${INK}"/></marker></defs>
<rect width="${width}" height="${height}" rx="10" fill="#ffffff"/>
${parts.join('\n')}
</svg>
`;
}

const processes = svg(860, 520, 'The processes of the mesh, and what passes between them', [
  box(20, 20, 200, 76, 'plain', 'Kubernetes API', ['or, in the local mesh,', 'a folder of manifests']),
  box(300, 20, 250, 110, 'control', 'controller', [
    'reads objects, compiles them,',
    'serves them to nodes and waypoints,',
    'signs certificates, writes statuses',
  ]),
  box(630, 20, 210, 76, 'plain', 'loam (command line)', ['status, why, check, install,', 'dashboard']),
  arrow(
    [
      [220, 58],
      [300, 58],
    ],
    'objects',
    [238, 50],
  ),
  arrow(
    [
      [630, 58],
      [550, 58],
    ],
    'status',
    [572, 50],
  ),
  '<rect x="20" y="210" width="560" height="290" rx="10" fill="none" stroke="#1f2933" stroke-dasharray="6 4"/>',
  '<text x="34" y="232" font-size="13" font-weight="700">each node</text>',
  box(40, 250, 190, 92, 'mesh', 'agent', [
    'which pods are in the mesh,',
    'programs in the kernel,',
    'listeners inside the pods',
  ]),
  box(350, 250, 210, 92, 'mesh', 'ztunnel', [
    'each connection of the pods:',
    'mutual TLS, identities,',
    'rules on connections',
  ]),
  arrow(
    [
      [230, 296],
      [350, 296],
    ],
    'listeners',
    [262, 288],
  ),
  box(40, 400, 520, 80, 'kernel', 'kernel (eBPF)', [
    'turns what pods dial, and what arrives at them, to ztunnel’s listeners;',
    'what it cannot place it drops',
  ]),
  arrow(
    [
      [135, 342],
      [135, 400],
    ],
    'loads',
    [144, 376],
  ),
  arrow(
    [
      [455, 400],
      [455, 342],
    ],
    'sockets in the pods',
    [330, 376],
  ),
  box(630, 250, 210, 110, 'mesh', 'waypoint', [
    'only for Services that ask for it:',
    'each request: routes, retries,',
    'rules on methods and paths',
  ]),
  arrow(
    [
      [400, 130],
      [430, 250],
    ],
    'gRPC: workloads, rules,\ncertificates',
    [246, 180],
  ),
  arrow(
    [
      [520, 130],
      [720, 250],
    ],
    'gRPC: routes,\nrules, certificates',
    [640, 176],
  ),
  arrow(
    [
      [560, 296],
      [630, 296],
    ],
    'HBONE',
    [582, 284],
    { both: true, strong: true },
  ),
]);

const connection = svg(860, 430, 'The way of one connection from pod A to pod B', [
  '<rect x="15" y="15" width="390" height="400" rx="10" fill="none" stroke="#1f2933" stroke-dasharray="6 4"/>',
  '<text x="30" y="38" font-size="13" font-weight="700">node 1</text>',
  '<rect x="455" y="15" width="390" height="400" rx="10" fill="none" stroke="#1f2933" stroke-dasharray="6 4"/>',
  '<text x="470" y="38" font-size="13" font-weight="700">node 2</text>',
  box(35, 55, 350, 62, 'pod', 'pod A: the application', ['connect(auth:80), as without a mesh']),
  box(35, 155, 350, 80, 'kernel', '1  kernel', [
    'keeps the true destination with the socket,',
    'turns the connection to the listener in A',
  ]),
  box(35, 275, 350, 122, 'mesh', '2  ztunnel of node 1', [
    'which Service and endpoint, which identity',
    'may A call it? (EgressPolicy)',
    'certificate of A’s service account',
    'socket made inside A’s network namespace',
  ]),
  box(475, 275, 350, 122, 'mesh', '3  ztunnel of node 2', [
    'who is it? the certificate says: A’s identity',
    'may A call B? (AuthorizationPolicy)',
    'no: refused, B’s application sees nothing',
    'yes: a socket inside B, with A’s address',
  ]),
  box(475, 155, 350, 80, 'kernel', '4  kernel', [
    'shows the application the peer that it',
    'would see without a mesh',
  ]),
  box(475, 55, 350, 62, 'pod', 'pod B: the application', ['accept(): from A’s address']),
  arrow([
    [210, 117],
    [210, 155],
  ]),
  arrow([
    [210, 235],
    [210, 275],
  ]),
  arrow(
    [
      [385, 336],
      [475, 336],
    ],
    'HBONE',
    [409, 322],
    { strong: true },
  ),
  '<text x="398" y="360" font-size="11">TLS 1.3, 15008</text>',
  arrow([
    [650, 275],
    [650, 235],
  ]),
  arrow([
    [650, 155],
    [650, 117],
  ]),
]);

const joining = svg(860, 320, 'How a pod joins the mesh, running or new', [
  box(20, 20, 210, 96, 'plain', 'Kubernetes API', [
    'label on the namespace or pod:',
    'loam.dev/dataplane-mode:',
    'ambient',
  ]),
  box(330, 20, 210, 96, 'mesh', 'agent', [
    'makes listeners inside the pod,',
    'loads the pod’s programs,',
    'writes the kernel’s maps',
  ]),
  box(640, 20, 200, 96, 'mesh', 'ztunnel', ['takes the listeners, and the', 'pod’s identity to prove']),
  box(20, 200, 210, 96, 'plain', 'container runtime', [
    'makes a new pod’s sandbox;',
    'no container of it runs',
    'before the agent says so',
  ]),
  box(330, 200, 210, 96, 'kernel', 'kernel', [
    'is this pod enrolled?',
    'what its maps say is the proof,',
    'never an annotation',
  ]),
  box(640, 200, 200, 96, 'pod', 'pod', [
    'running: is not restarted',
    'new: dials its first',
    'connection in the mesh',
  ]),
  arrow(
    [
      [230, 68],
      [330, 68],
    ],
    'watched',
    [256, 60],
  ),
  arrow(
    [
      [540, 68],
      [640, 68],
    ],
    'listeners',
    [564, 60],
  ),
  arrow(
    [
      [125, 200],
      [125, 158],
      [380, 158],
      [380, 116],
    ],
    'NRI, or the network plugin: may it start?',
    [134, 150],
    { both: true },
  ),
  arrow(
    [
      [470, 116],
      [470, 200],
    ],
    'writes, and reads back',
    [480, 162],
    { both: true },
  ),
  arrow(
    [
      [540, 248],
      [640, 248],
    ],
    'each new\nconnection',
    [562, 226],
    { strong: true },
  ),
]);

const request = svg(860, 440, 'The way of one request through a waypoint', [
  box(20, 40, 190, 62, 'pod', 'frontend', ['GET http://auth/']),
  box(20, 170, 190, 112, 'mesh', 'ztunnel of its node', [
    'auth has a waypoint:',
    'the tunnel goes there,',
    'under frontend’s identity',
  ]),
  box(290, 20, 280, 400, 'control', 'waypoint', []),
  ...[
    ['who is it?', 'identity by the certificate'],
    ['is the head sound?', 'limits; one form of the path'],
    ['a token?', 'RequestAuthentication: else 401'],
    ['allowed?', 'AuthorizationPolicy: else 403'],
    ['too many?', 'rate limit: else 429'],
    ['where to?', 'route by path, header, weight'],
    ['which pod?', 'balancing, without ejected ones'],
    ['failed?', 'another pod, then the fallback'],
  ].flatMap(([title, text], i) => [
    `<rect x="304" y="${52 + i * 45}" width="252" height="38" rx="6" fill="#ffffff" stroke="${INK}" stroke-opacity="0.4"/>`,
    `<text x="314" y="${68 + i * 45}" font-size="12" font-weight="700">${escaped(title)}</text>`,
    `<text x="314" y="${83 + i * 45}" font-size="12">${escaped(text)}</text>`,
  ]),
  box(650, 170, 190, 112, 'mesh', 'ztunnel of auth’s node', [
    'at this port it admits the',
    'waypoint’s identity alone:',
    'there is no way round it',
  ]),
  box(650, 40, 190, 62, 'pod', 'auth', ['its peer is the waypoint']),
  arrow([
    [115, 102],
    [115, 170],
  ]),
  arrow(
    [
      [210, 226],
      [290, 226],
    ],
    'HBONE',
    [229, 216],
    { strong: true },
  ),
  arrow(
    [
      [570, 226],
      [650, 226],
    ],
    'HBONE',
    [587, 216],
    { strong: true },
  ),
  arrow([
    [745, 170],
    [745, 102],
  ]),
  box(650, 320, 190, 80, 'plain', 'at its end', ['one log line, metrics,', 'and spans where asked']),
  arrow([
    [570, 360],
    [650, 360],
  ]),
]);

for (const [name, text] of Object.entries({ processes, connection, joining, request }))
  writeFileSync(join(import.meta.dirname, `${name}.svg`), text);
