// The lab: miss ratio by cache size from the node's own sample, and what other sizes would do.

const NS = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [920, 380, 56, 16, 14, 46];
const KINDS = { auto: 'k2', lru: 'k1' };

function svg(tag, attributes, text) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function line(text, kind) {
  const node = document.createElement('p');
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

// Draws answer (of GET /v1/lab/curve) into node; bytes formats a size.
export function draw(node, advice, answer, bytes) {
  const sizes = answer.curves[0][1].map((p) => p.size);
  const [least, most] = [Math.log(sizes[0]), Math.log(sizes.at(-1))];
  const x = (size) => LEFT + (Math.log(size) - least) / (most - least) * (WIDTH - LEFT - RIGHT);
  const y = (ratio) => TOP + (1 - ratio) * (HEIGHT - TOP - BOTTOM);
  const plot = svg('svg', { class: 'curves', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': 'Miss ratio by cache size' });
  for (let tenth = 0; tenth <= 10; tenth += 2) {
    const at = y(tenth / 10);
    plot.append(svg('line', { class: 'axis', x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }),
      svg('text', { x: LEFT - 8, y: at + 4, 'text-anchor': 'end' }, tenth * 10 + ' %'));
  }
  const [low, high] = [Math.ceil(least / Math.LN2), Math.floor(most / Math.LN2)];
  const step = Math.max(1, Math.ceil((high - low) / 9));
  for (let power = low; power <= high; power += step) {
    const at = x(2 ** power);
    plot.append(svg('line', { class: 'axis', x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM }),
      svg('text', { x: at, y: HEIGHT - BOTTOM + 17, 'text-anchor': 'middle' }, bytes(2 ** power)));
  }
  plot.append(svg('text', { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, 'text-anchor': 'middle' }, 'size of memory (log scale)'),
    svg('text', { transform: `translate(13 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`, 'text-anchor': 'middle' }, 'missed'));
  for (const [name, points] of answer.curves) {
    for (const [field, dash] of [['objects', ''], ['bytes', ' dash']]) {
      const band = [...points.map((p) => [p, 1]), ...points.toReversed().map((p) => [p, -1])]
        .map(([p, by]) => `${x(p.size).toFixed(1)},${y(Math.min(1, Math.max(0, p[field] + by * p[field + '_error']))).toFixed(1)}`);
      plot.append(svg('polygon', { class: 'band ' + KINDS[name], points: band.join(' ') }),
        svg('polyline', { class: KINDS[name] + dash, points: points.map((p) => `${x(p.size).toFixed(1)},${y(p[field]).toFixed(1)}`).join(' ') }));
    }
  }
  const now = answer.choices[0];
  if (now.memory > sizes[0] && now.memory < sizes.at(-1)) {
    plot.append(svg('line', { class: 'now', x1: x(now.memory), x2: x(now.memory), y1: TOP, y2: HEIGHT - BOTTOM }),
      svg('text', { x: x(now.memory) + 5, y: TOP + 11 }, 'now ' + bytes(now.memory)));
  }
  const rule = svg('line', { class: 'rule', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
  plot.append(rule);
  const tip = line('Point at the plot to read it.', 'legend');
  plot.addEventListener('pointermove', (event) => {
    const area = plot.getBoundingClientRect();
    const at = (event.clientX - area.left) / area.width * WIDTH;
    const near = sizes.map((size, index) => [Math.abs(x(size) - at), index]).sort((a, b) => a[0] - b[0])[0][1];
    rule.setAttribute('x1', x(sizes[near])); rule.setAttribute('x2', x(sizes[near])); rule.setAttribute('visibility', 'visible');
    tip.textContent = bytes(sizes[near]) + ': ' + answer.curves.map(([name, points]) =>
      `${name} misses ${(points[near].objects * 100).toFixed(1)} % of requests, ${(points[near].bytes * 100).toFixed(1)} % of bytes`).join('; ');
  });
  plot.addEventListener('pointerleave', () => rule.setAttribute('visibility', 'hidden'));
  node.replaceChildren(plot, tip);
  advice.replaceChildren(...answer.advice.map((text, at) => line(text, at ? 'advice' : 'legend')));
}
