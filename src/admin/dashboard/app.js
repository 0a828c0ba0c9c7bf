// The dashboard: plain DOM, no library, no inline script or style. Everything a client
// could have chosen (URLs, hosts, tags) enters the page as text, never as markup.

import { draw } from './lab.js';

const $ = (id) => document.getElementById(id);
const KEEP = 300;
const PERIOD = 2000;
let token = sessionStorage.getItem('brink-token') || '';
let last = null;
const series = { rps: [], hits: [], bps: [], origin: [], ratio: [] };

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === 'class') node.className = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function short(n) {
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (n >= size * (unit === 'k' ? 10 : 1)) return (n / size).toFixed(1) + ' ' + unit;
  }
  return n < 10 && n % 1 ? n.toFixed(1) : Math.round(n).toString();
}

function bytes(n) {
  for (const [unit, size] of [['TiB', 2 ** 40], ['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) {
    if (n >= size) return (n / size).toFixed(1) + ' ' + unit;
  }
  return Math.round(n) + ' B';
}

const span = (us) => (us < 1000 ? us + ' µs' : us < 1e6 ? (us / 1000).toFixed(1) + ' ms' : (us / 1e6).toFixed(1) + ' s');
const count = (n) => n + (n === 1 ? ' object' : ' objects');
const percent = (share) => (share * 100).toFixed(1) + ' %';

async function call(method, path, body) {
  const response = await fetch(path, {
    method, headers: { Authorization: 'Bearer ' + token, ...(body ? { 'Content-Type': 'application/json' } : {}) },
    body: body && JSON.stringify(body), cache: 'no-store',
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = new Error((answer.error && answer.error.message) || 'status ' + response.status);
  error.status = response.status;
  throw error;
}

function table(node, head, rows, nothing) {
  node.replaceChildren();
  if (!rows.length) { node.append(el('tbody', {}, el('tr', {}, el('td', { class: 'empty' }, nothing)))); return; }
  node.append(el('thead', {}, el('tr', {}, ...head.map(([name, kind]) => el('th', { class: kind, scope: 'col' }, name)))));
  node.append(el('tbody', {}, ...rows.map((row) => el('tr', {}, ...row.map((cell, at) => {
    const kind = head[at][1];
    return el('td', { class: kind }, cell);
  })))));
}

function chart(node, lines, top, label, show) {
  const max = top || Math.max(1e-9, ...lines.flatMap(([, values]) => values));
  const [w, h] = [400, 110];
  const longest = Math.max(2, ...lines.map(([, values]) => values.length));
  const drawing = svg('svg', { class: 'chart', viewBox: `0 0 ${w} 130`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
  for (const share of [0, 0.5, 1]) {
    const y = 8 + h * (1 - share);
    drawing.append(svg('line', { class: 'axis', x1: 0, x2: w, y1: y, y2: y }));
  }
  for (const [kind, values] of lines) {
    const points = values.map((value, at) => {
      const x = at * w / (longest - 1);
      return `${x.toFixed(1)} ${(8 + h * (1 - Math.min(1, value / max))).toFixed(1)}`;
    });
    if (points.length > 1) drawing.append(svg('path', { class: kind, d: 'M' + points.join('L') }));
  }
  node.replaceChildren(drawing, el('span', { class: 'peak', 'aria-hidden': 'true' }, show(max)));
}

function push(name, value) {
  series[name].push(value);
  if (series[name].length > KEEP) series[name].shift();
}

function sample(before, now, asked, hits) {
  const seconds = ((now.now_ms || now.at_ms) - (before.now_ms || before.at_ms)) / 1000;
  const per = (field) => (now[field] - before[field]) / seconds;
  push('rps', per('requests')); push('hits', hits / seconds); push('bps', per('bytes')); push('origin', per('origin_bytes'));
  push('ratio', asked > 0 ? hits / asked : (series.ratio.at(-1) || 0));
}

async function remember() {
  for (const name of Object.keys(series)) series[name] = [];
  const { samples } = await call('GET', '/v1/history');
  for (let at = 1; at < samples.length; at++) {
    const [before, now] = [samples[at - 1], samples[at]];
    sample(before, now, now.asked - before.asked, now.hits - before.hits);
  }
}

function overview(now) {
  if (last && now.now_ms > last.now_ms && now.requests >= last.requests) {
    const more = (...fields) => fields.reduce((sum, field) => sum + now[field] - last[field], 0);
    const hits = more('hits', 'stale');
    sample(last, now, hits + more('misses', 'revalidated', 'passes'), hits);
  }
  last = now;
  $('now-rps').textContent = short(series.rps.at(-1) || 0);
  $('now-bps').textContent = bytes(series.bps.at(-1) || 0);
  $('now-hit').textContent = percent(series.ratio.at(-1) || 0);
  chart($('chart-rps'), [['k1', series.rps], ['k2', series.hits]], 0, 'Requests per second, last minutes', (n) => short(n) + '/s');
  chart($('chart-bps'), [['k1', series.bps], ['k3', series.origin]], 0, 'Bytes per second, last minutes', (n) => bytes(n) + '/s');
  chart($('chart-hit'), [['k2', series.ratio]], 1, 'Hit ratio, last minutes', percent);
  const saved = now.bytes_memory + now.bytes_disk;
  $('figures').replaceChildren(...[
    [percent(now.request_hit_ratio), 'of requests hit'], [percent(now.byte_hit_ratio), 'of bytes hit'],
    [short(now.requests), 'requests'], [bytes(saved), 'saved at the origin'],
    [span(now.latency.hit_p99_us), 'p99 of hits'], [short(now.collapsed), 'requests collapsed'],
  ].map(([figure, name]) => el('div', { class: 'figure' }, el('b', {}, figure), el('span', {}, name))));
  $('tiers').replaceChildren(...Object.entries(now.tiers).map(([tier, fill]) => {
    const share = fill.bytes_max ? Math.min(1, fill.bytes / fill.bytes_max) : 0;
    const of = fill.bytes_max ? ` of ${bytes(fill.bytes_max)}` : '';
    return el('div', { class: 'fill' }, `${tier}: ${short(fill.objects || 0)} objects, ${bytes(fill.bytes || 0)}${of}`,
      svg('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', role: 'img', 'aria-label': percent(share) + ' full' },
        svg('rect', { width: 100, height: 8 }), svg('rect', { class: 'used', width: share * 100, height: 8 })));
  }));
  table($('sites'), [['site', ''], ['requests', 'n'], ['hits', 'n'], ['to clients', 'n'], ['saved', 'n']],
    now.sites.map((s) => [s.site || '(no site)', short(s.requests), percent(s.request_hit_ratio), bytes(s.bytes), bytes(s.bytes_saved)]),
    'No request yet.');
}

async function top() {
  const by = $('top-by').value;
  const answer = await call('GET', `/v1/top?by=${by}&limit=50`);
  const show = by.endsWith('bytes') ? bytes : short;
  table($('top-list'), [['', 'n'], [by.replace('_', ' '), 'n'], ['URL', 'url']],
    answer.top.map((t, at) => [at + 1, show(t.count), t.url]), 'No request in the last minutes.');
}

let rows = [];
async function objects(after) {
  const kind = $('objects-kind').value;
  const query = new URLSearchParams({ limit: 50 });
  if (kind) query.set(kind, $('objects-text').value);
  if ($('objects-tier').value) query.set('tier', $('objects-tier').value);
  if (after) query.set('after', after); else rows = [];
  const page = await call('GET', '/v1/objects?' + query);
  rows.push(...page.objects);
  table($('objects-list'), [['URL', 'url'], ['tier', ''], ['status', 'n'], ['body', 'n'], ['ttl', 'n'], ['tags', '']],
    rows.map((o) => [el('button', { class: 'link', title: 'Explain', onclick: () => explainThis(o.url) }, o.url),
      o.tier === 'memory' && o.on_disk ? 'memory, disk' : o.tier, o.status || '', bytes(o.bytes), o.soft_purged ? 'purged (soft)' : o.status ? o.ttl_s + ' s' : '', o.tags.join(' ')]),
    'Nothing stored that fits.');
  const more = $('objects-more');
  more.hidden = !page.next;
  more.onclick = () => guarded(() => objects(page.next));
}

function explainThis(url) { $('explain-url').value = url; show('explain'); guarded(explain); }

async function explain() {
  const query = new URLSearchParams({ url: $('explain-url').value });
  for (const line of $('explain-headers').value.split('\n').filter((l) => l.trim())) query.append('header', line);
  const a = await call('GET', '/v1/explain?' + query);
  const good = a.now.verdict === 'hit' || a.now.verdict === 'stale-hit';
  const list = el('dl', {});
  const add = (name, value) => { if (value) list.append(el('dt', {}, name), el('dd', {}, value)); };
  add('site', a.site); add('rule', a.site && (a.rule || 'the site\u2019s own policy')); add('origin', a.origin);
  add('tiers', a.tiers && a.tiers.join(', ')); add('hits', a.hits !== null && a.hits !== undefined && String(a.hits));
  add('key', a.key && a.key.text); add('key has', a.key && a.key.query_rule); add('freshness', a.freshness && a.freshness.sum);
  (a.variants || []).forEach((v, at) => add(`variant ${at + 1}${v.selected ? ' (chosen)' : ''}`,
    `${v.object.tier}, ${bytes(v.object.bytes)}, ttl ${v.object.ttl_s} s` + (v.object.tags.length ? ', tags ' + v.object.tags.join(' ') : '') +
    v.object.vary.map(([n, x]) => `; ${n}: ${x}`).join('')));
  add('last purge', a.last_purge && `number ${a.last_purge.seq}: ${a.last_purge.kind} ${a.last_purge.what}${a.last_purge.soft ? ' (soft)' : ''}`);
  add('evicted', a.last_eviction && `${new Date(a.last_eviction.at_s * 1000).toLocaleString()}, after ${a.last_eviction.hits} hits`);
  add('not stored', a.last_not_stored && a.last_not_stored.reason);
  $('explain-answer').replaceChildren(el('p', { class: 'verdict ' + (good ? 'good' : 'bad') }, a.now.verdict),
    el('p', {}, a.now.why), list, ...(a.advice || []).map((text) => el('p', { class: 'advice' }, text)));
}

async function purge(dry) {
  const kind = $('purge-kind').value;
  const items = $('purge-items').value.split('\n').map((l) => l.trim()).filter(Boolean);
  const body = { soft: $('purge-soft').checked, dry_run: dry };
  if (kind === 'glob') { body.pattern = items[0] || ''; body.pattern_syntax = 'glob'; }
  else if (kind === 'segments') { body.prefixes = items; body.prefix_by = 'segment'; }
  else body[kind] = kind === 'everything' ? true : kind === 'pattern' ? items[0] || '' : items;
  if (!dry && kind === 'everything' && !confirm('Purge everything?')) return;
  const a = await call('POST', '/v1/purge', body);
  $('purge-answer').textContent = dry
    ? `Would purge ${count(a.matched)} (${bytes(a.freed_bytes)}). Nothing was changed.`
    : `${a.soft ? 'Marked stale' : 'Purged'} ${count(a.matched)}, ${bytes(a.freed_bytes)} freed; in effect after ${a.effective_ms} ms (number ${a.seq}).`;
  await purges();
}

async function purges() {
  const a = await call('GET', '/v1/purges');
  const running = Object.entries(a.sweeps).filter(([, sweep]) => sweep && sweep.running);
  $('sweeps').textContent = running.map(([tier, s]) => `sweep of ${tier}: ${short(s.examined)} of ${short(s.total)} keys`).join('; ');
  const audit = await call('GET', '/v1/audit');
  table($('audit'), [['time', ''], ['who', ''], ['from', ''], ['call', ''], ['what', 'url'], ['status', 'n']],
    audit.changes.slice(0, 50).map((c) => [c.time.slice(11, 19), c.who, c.peer, c.call, c.what, c.status]), 'None yet.');
  table($('purges'), [['number', 'n'], ['time', ''], ['by', ''], ['items', 'url'], ['matched', 'n'], ['freed', 'n'], ['', '']],
    a.purges.slice(0, 50).map((p) => [p.seq, new Date(p.at_ms).toLocaleTimeString(), p.who,
      p.items.join(', ') + (p.items_total > p.items.length ? ` and ${p.items_total - p.items.length} more` : ''),
      p.found.matched, bytes(p.found.freed_bytes), (p.soft ? 'soft ' : '') + (p.found.swept ? '' : 'sweeping')]), 'None yet.');
}

async function origins() {
  const a = await call('GET', '/v1/origins');
  const change = (origin, server, state) => guarded(async () => {
    await call('PUT', `/v1/origins/${encodeURIComponent(origin)}/servers/${encodeURIComponent(server)}`, { state });
    $('origin-answer').textContent = state === 'drain' ? `${server} takes no new requests.` : `${server} is back in use.`;
    await origins();
  });
  $('origin-list').replaceChildren(...a.origins.map((o) => {
    const list = el('table', {});
    table(list, [['server', ''], ['state', ''], ['in flight', 'n'], ['requests', 'n'], ['failed', 'n'], ['latency', 'n'], ['', '']],
      o.servers.map((s) => {
        const out = s.state === 'drained';
        return [s.name, el('span', { class: out ? 'miss' : s.state === 'up' ? 'hit' : 'failed', title: s.reason }, s.state), s.in_flight, short(s.requests), short(s.failures),
          s.latency_ms.toFixed(1) + ' ms',
          el('button', { class: 'quiet small', 'aria-label': (out ? 'Use ' : 'Drain ') + s.name, onclick: () => change(o.name, s.name, out ? 'up' : 'drain') }, out ? 'Use again' : 'Drain')];
      }), 'No servers.');
    return el('div', { class: 'card' }, el('h2', {}, o.name), el('div', { class: 'scroll' }, list));
  }));
  if (!a.origins.length) $('origin-list').replaceChildren(el('p', { class: 'empty' }, 'No origins.'));
}

let following = null;
async function follow() {
  if (following) { following.abort(); following = null; $('log-switch').textContent = 'Start'; return; }
  following = new AbortController();
  $('log-switch').textContent = 'Stop';
  const body = el('tbody', {});
  $('log-lines').replaceChildren(body);
  try {
    const response = await fetch('/v1/log?' + new URLSearchParams({ filter: $('log-filter').value }),
      { headers: { Authorization: 'Bearer ' + token }, signal: following.signal });
    if (!response.ok) throw new Error('status ' + response.status);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const e = JSON.parse(line);
        const cells = e.missed ? [`${e.missed} lines missed`] : [e.time.slice(11, 23), el('span', { class: e.cache }, e.cache), e.status, bytes(e.bytes), e.duration_us + ' µs', `${e.method} ${e.host}${e.target}`, e.detail || e.fwd || ''];
        body.prepend(el('tr', {}, ...cells.map((c, at) => el('td', { class: at === 5 ? 'url' : '' }, c))));
      }
      while (body.rows.length > 300) body.lastChild.remove();
    }
  } catch (error) {
    if (error.name !== 'AbortError') body.prepend(el('tr', {}, el('td', { class: 'error' }, error.message)));
  }
}

async function lab() {
  $('lab-advice').replaceChildren();
  $('lab-plot').replaceChildren(el('p', { class: 'empty' }, 'Reckoning with the sample\u2026'));
  try { draw($('lab-plot'), $('lab-advice'), await call('GET', '/v1/lab/curve'), bytes); } catch (error) {
    $('lab-plot').replaceChildren(el('p', { class: 'empty' }, error.message));
    if (error.status === 401) throw error;
  }
}

const views = { overview: null, top, objects: () => objects(), explain: null, purge: purges, origins, lab, log: null };
function show(name) {
  for (const view of Object.keys(views)) {
    $(view).hidden = view !== name;
    $('tab-' + view).setAttribute('aria-selected', String(view === name));
    $('tab-' + view).tabIndex = view === name ? 0 : -1;
  }
  if (location.hash !== '#' + name) history.replaceState(null, '', '#' + name);
  if (views[name]) guarded(views[name]);
}

async function guarded(action) {
  try { await action(); } catch (error) {
    if (error.status === 401) return leave('That token is not accepted.');
    const place = !$('purge').hidden ? 'purge-answer' : !$('explain').hidden ? 'explain-answer' : 'origin-answer';
    $(place).textContent = error.message;
  }
}

function leave(why) {
  token = ''; last = null;
  sessionStorage.removeItem('brink-token');
  $('app').hidden = true; $('tabs').hidden = true; $('leave').hidden = true; $('login').hidden = false;
  $('login-error').textContent = why || '';
  $('token').focus();
}

async function tick() {
  if (token && !document.hidden) {
    try {
      overview(await call('GET', '/v1/stats'));
      $('status').textContent = 'live'; $('status').className = 'pill up';
    } catch (error) {
      if (error.status === 401) leave('That token is not accepted.');
      $('status').textContent = 'offline'; $('status').className = 'pill down';
    }
  }
  setTimeout(tick, PERIOD);
}

async function enter() {
  try {
    await remember();
    overview(await call('GET', '/v1/stats'));
  } catch (error) { leave(error.status ? error.message : 'The node does not answer.'); return; }
  sessionStorage.setItem('brink-token', token);
  $('login').hidden = true; $('app').hidden = false; $('tabs').hidden = false; $('leave').hidden = false;
  $('status').textContent = 'live'; $('status').className = 'pill up';
  show(views[location.hash.slice(1)] === undefined ? 'overview' : location.hash.slice(1));
}

$('login').addEventListener('submit', (event) => { event.preventDefault(); token = $('token').value.trim(); $('token').value = ''; enter(); });
$('leave').addEventListener('click', () => leave());
$('top-by').addEventListener('change', () => guarded(top));
$('objects-form').addEventListener('submit', (event) => { event.preventDefault(); guarded(() => objects()); });
$('explain-form').addEventListener('submit', (event) => { event.preventDefault(); guarded(explain); });
$('purge-form').addEventListener('submit', (event) => { event.preventDefault(); guarded(() => purge(false)); });
$('purge-dry').addEventListener('click', () => guarded(() => purge(true)));
$('log-switch').addEventListener('click', follow);
for (const view of Object.keys(views)) $('tab-' + view).addEventListener('click', () => show(view));
$('tabs').addEventListener('keydown', (event) => {
  const names = Object.keys(views);
  const at = names.findIndex((name) => $('tab-' + name) === document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  const name = names[(to + names.length) % names.length];
  $('tab-' + name).focus(); show(name); event.preventDefault();
});
if (token) enter(); else leave();
tick();
