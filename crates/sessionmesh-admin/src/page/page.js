// The page of one node: it follows /v1/events and draws what comes. No data is kept but the last five minutes of rates.

const base = new URL('..', import.meta.url);
const $ = (id) => document.getElementById(id);
const SECONDS = 300;
const HUES = [212, 28, 145, 330, 265, 55, 185, 0];

let token = sessionStorage.getItem('token') ?? '';
let view = '';
let members = [];
let before = null;

const dark = matchMedia('(prefers-color-scheme: dark)');
const colour = (at) => {
  const turn = Math.floor(at / HUES.length);
  const light = (dark.matches ? 62 : 45) + (turn % 3) * 9;
  return `hsl(${HUES[at % HUES.length]} 62% ${light}%)`;
};
const number = new Intl.NumberFormat('en-US');
const count = (value) => number.format(Math.round(value));
const size = (bytes) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (bytes >= 10240 && at < units.length - 1) { bytes /= 1024; at += 1; }
  return `${count(bytes)} ${units[at]}`;
};

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function ask(path, body) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  if (body) headers['content-type'] = 'application/json';
  const options = body ? { method: 'POST', headers, body: JSON.stringify(body) } : { headers };
  const answer = await fetch(new URL(path, base), options);
  if (answer.status === 401) { wantToken(); throw new Error('a token is needed'); }
  return answer;
}

// The node may go at any moment; the stream of events notices, and comes again.
function calmly(asking) {
  asking.catch((error) => console.warn(error));
}

function wantToken() {
  $('token').hidden = false;
  $('token-wrong').textContent = token ? 'This is not the token of this node.' : '';
  token = '';
  sessionStorage.removeItem('token');
}

$('token').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token-text').value;
  sessionStorage.setItem('token', token);
  $('token').hidden = true;
  follow();
});

// Charts: a line for each series, the last five minutes.
const times = Array.from({ length: SECONDS }, (_, at) => Date.now() / 1000 - SECONDS + at);
let charts = {};

// Once there is something to see: the library of the charts is the largest part of the page.
function loadCharts() {
  const script = element('script');
  script.src = new URL('uPlot.js', import.meta.url);
  script.addEventListener('load', () => {
    charts = {
      commits: chart('chart-commits', ['acknowledged', 'late or refused']),
      reads: chart('chart-reads', ['own memory', 'asked others', 'could not tell']),
      ends: chart('chart-ends', ['begun', 'ended', 'expired']),
      repairs: chart('chart-repairs', ['slots repaired', 'sessions waiting']),
    };
  });
  document.head.append(script);
}

function chart(id, names) {
  const series = names.map(() => new Array(SECONDS).fill(null));
  const axis = () => getComputedStyle(document.documentElement).getPropertyValue('--faint');
  const grid = () => getComputedStyle(document.documentElement).getPropertyValue('--line');
  const options = {
    width: $(id).clientWidth, height: 150, legend: { live: true }, cursor: { y: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(4, high * 1.1)] } },
    axes: [
      { stroke: axis, grid: { stroke: grid, width: 1 }, ticks: { show: false } },
      { stroke: axis, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 56, incrs: [1, 2, 5].flatMap((step) => [...Array(9).keys()].map((power) => step * 10 ** power)).sort((one, other) => one - other), values: (_, all) => all.map(count) },
    ],
    series: [{ value: (_, at) => (at ? new Date(at * 1000).toLocaleTimeString() : '') },
      ...names.map((label, at) => ({ label, stroke: () => colour(at), width: 2, points: { show: false }, value: (_, value) => (value === null ? '' : count(value)) }))],
  };
  const plot = new uPlot(options, [times, ...series], $(id));
  new ResizeObserver(() => plot.setSize({ width: $(id).clientWidth, height: 150 })).observe($(id));
  return {
    add(values) { series.forEach((all, at) => { all.push(values[at]); all.shift(); }); },
    draw() { plot.setData([times, ...series]); },
  };
}

dark.addEventListener('change', () => { drawRing(); drawMembers(); Object.values(charts).forEach((chart) => chart.draw()); });

function figures({ stats, members: all }) {
  members = all;
  noteCommits();
  const events = (name) => stats.events[name] ?? 0;
  const commits = Object.values(stats.commits);
  const sum = (result) => commits.reduce((sum, by) => sum + (by[result] ?? 0), 0);
  const now = {
    commits: [sum('acknowledged'), sum('timed_out') + sum('too_few_copies') + sum('refused')],
    reads: [stats.reads.local, stats.reads.remote, stats.reads.cannot_tell],
    ends: [events('session_created'), events('session_invalidated'), events('session_expired')],
    repairs: [stats.audit_differences],
  };
  times.push(Date.now() / 1000);
  times.shift();
  for (const [name, chart] of Object.entries(charts)) {
    const rates = now[name].map((value, at) => (before ? Math.max(0, value - before[name][at]) : null));
    if (name === 'repairs') rates.push(stats.waiting.sessions);
    chart.add(rates);
    if (!document.hidden) chart.draw();
  }
  before = now;
  $('node').textContent = stats.node;
  document.title = `${stats.node}: Sessionmesh`;
  const held = [
    ['as primary', count(stats.sessions.primary)], ['as replica', count(stats.sessions.replica)],
    ['ended', count(stats.sessions.ended)], ['bytes', size(stats.bytes)],
    ['waiting commits', count(stats.waiting.commits)], ['late by', `${stats.late_ms} ms`],
  ];
  $('held').replaceChildren(...held.flatMap(([name, value]) => [element('dt', name), element('dd', value)]).reduce((pairs, one, at, all) => {
    if (at % 2) { const pair = element('div'); pair.append(all[at - 1], one); pairs.push(pair); }
    return pairs;
  }, []));
  drawMembers();
  const seen = members.map((member) => `${member.name} ${member.state} ${member.incarnation}`).join();
  if (!performance.getEntriesByName('first-data').length) { performance.mark('first-data'); loadCharts(); }
  if (seen !== view) { view = seen; calmly(slots()); calmly(health()); }
}

// Rows stay, and only what has changed is written: with many members all else would take the browser much longer.
function drawMembers() {
  const body = $('members');
  while (body.rows.length > members.length) body.deleteRow(-1);
  members.forEach((member, at) => {
    const row = body.rows[at] ?? body.appendChild(emptyRow(at));
    const state = member.suspected ? 'suspected' : member.state;
    const link = member.link === null ? '' : member.link.up ? `up, version ${member.link.version}` : 'down';
    const waiting = member.link?.waiting_sessions ? `${count(member.link.waiting_sessions)}, ${Math.round(member.link.oldest_ms / 1000)} s` : '0';
    const own = (name) => (member.figures ? count(member.figures[name]) : '?');
    const texts = [member.this ? `${member.name} (this node)` : member.name, state, member.zone || '-', own('primary'), own('replica'),
      commitRate(member), count(member.primary_of_slots), link, member.link === null ? '' : waiting];
    texts.forEach((text, column) => {
      const shown = row.cells[column].lastChild;
      if (shown.data !== text) shown.data = text;
    });
    if (row.cells[1].className !== state) row.cells[1].className = state;
  });
}

function emptyRow(at) {
  const row = element('tr');
  const name = element('th');
  name.scope = 'row';
  const swatch = element('span', undefined, 'swatch');
  swatch.style.background = colour(at);
  name.append(swatch);
  const classes = ['', '', 'number', 'number', 'number', 'number', '', 'number'];
  row.append(name, ...classes.map((kind) => element('td', undefined, kind)));
  for (const cell of row.cells) cell.append(document.createTextNode(''));
  return row;
}

// Commits of each member, a second ago and now.
const commitsOf = new Map();
function noteCommits() {
  for (const member of members) {
    const [, last] = commitsOf.get(member.name) ?? [null, null];
    commitsOf.set(member.name, [last, member.figures?.commits ?? null]);
  }
}
function commitRate(member) {
  const [last, now] = commitsOf.get(member.name) ?? [null, null];
  return last === null || now === null ? '' : count(Math.max(0, now - last));
}

let owners = [];
async function slots() {
  const answer = await (await ask('v1/slots')).json();
  owners = answer.owners.map((of) => of[0]);
  drawRing();
}

function drawRing() {
  const context = $('ring').getContext('2d');
  const [centre, outer, width, each] = [360, 356, 15, 256];
  context.clearRect(0, 0, 720, 720);
  context.lineWidth = width - 2;
  const step = (2 * Math.PI) / each;
  owners.forEach((owner, slot) => {
    const from = (slot % each) * step - Math.PI / 2;
    context.beginPath();
    context.arc(centre, centre, outer - width / 2 - Math.floor(slot / each) * width, from, from + step);
    context.strokeStyle = owner === undefined || owner === null ? 'gray' : colour(owner);
    context.stroke();
  });
}

async function health() {
  const health = await (await ask('v1/health')).json();
  $('cluster').textContent = `of cluster ${health.cluster}`;
  state(health.state);
  $('findings').replaceChildren(...health.findings.map((finding) => element('li', `${finding.name}: ${finding.text}`, finding.hinders ? 'hinders' : '')));
}

function state(name) {
  $('state').textContent = name;
  $('state').className = `pill ${name}`;
}

function happened({ name, at_ms: at, text }) {
  $('quiet').hidden = true;
  const line = element('li');
  const time = element('time', new Date(at).toLocaleTimeString());
  time.dateTime = new Date(at).toISOString();
  line.append(time, element('strong', name), element('span', text));
  $('log').prepend(line);
  while ($('log').childElementCount > 200) $('log').lastElementChild.remove();
  calmly(health());
}

$('find').addEventListener('submit', async (event) => {
  event.preventDefault();
  const found = $('found');
  try {
    const answer = await (await ask('v1/sessions/find', { id: $('id').value })).json();
    if (answer.error) { found.replaceChildren(element('p', answer.text)); return; }
    const list = element('ul');
    for (const copy of answer.copies.filter((copy) => copy.owner || copy.state !== 'nothing')) {
      const role = copy.primary ? 'primary' : copy.owner ? 'backup' : 'in transit';
      const content = copy.content ? `, ${copy.content.attributes} attributes, ${size(copy.content.bytes)}, idle for ${Math.round(copy.content.idle_ms / 1000)} s` : '';
      list.append(element('li', `${copy.node} (${role}): ${copy.state}${content}${copy.digest ? `, digest ${copy.digest}` : ''}`));
    }
    const verdict = answer.copies_equal ? 'all copies are equal' : 'the copies differ, or an owner does not answer';
    found.replaceChildren(element('p', `Session ${answer.session} in slot ${answer.slot}: ${verdict}`, answer.copies_equal ? 'ready' : 'suspected'), list);
  } catch (error) {
    found.replaceChildren(element('p', `No answer: ${error.message}`));
  }
});

// In the demo: buttons, and visitors.
const BUTTONS = {
  running: ['kill', 'freeze', 'cut', 'drain'], frozen: ['thaw', 'kill'], cut: ['heal', 'kill'], draining: ['kill'], starting: [], dead: ['start'],
};
const WORDS = { kill: 'Kill', freeze: 'Freeze', thaw: 'Thaw', cut: 'Cut off', heal: 'Heal', drain: 'Drain', start: 'Start' };

async function press(path, body) {
  const answer = await ask(path, body);
  const said = await answer.json();
  $('said').textContent = answer.ok ? '' : said.text;
  if (answer.ok) drawStage(said);
}

const places = new Map();
function drawStage({ nodes, load }) {
  for (const node of nodes) {
    const before = places.get(node.name);
    if (before?.state === node.state && before.pid === node.pid) continue;
    const place = before?.place ?? element('li');
    place.className = node.state;
    const title = element('p');
    title.append(element('strong', node.name), ` ${node.state}`, element('small', node.pid ? `http://${node.http}, process ${node.pid}` : ''));
    const buttons = BUTTONS[node.state].map((what) => {
      const button = element('button', WORDS[what]);
      button.type = 'button';
      button.setAttribute('aria-label', `${WORDS[what]} ${node.name}`);
      button.addEventListener('click', () => calmly(press(`stage/${what}`, { node: node.name })));
      return button;
    });
    const focused = place.contains(document.activeElement);
    place.replaceChildren(title, ...buttons);
    if (focused) place.querySelector('button')?.focus();
    if (!before) $('places').append(place);
    places.set(node.name, { place, ...node });
  }
  $('load').textContent = load.on ? 'Send visitors away' : `Let ${load.rate} visitors a second come`;
  $('load').setAttribute('aria-pressed', load.on);
  const counts = [['requests', load.requests], ['failed requests', load.failed], ['acknowledged writes', load.acknowledged], ['of them lost', load.lost]];
  $('visits').replaceChildren(...counts.map(([name, value]) => {
    const pair = element('div');
    pair.append(element('dt', name), element('dd', count(value)));
    return pair;
  }));
}

$('load').addEventListener('click', () => calmly(press('stage/load', { on: $('load').getAttribute('aria-pressed') !== 'true' })));

async function stage() {
  const there = await fetch(new URL('stage', base)).catch(() => null);
  if (!there?.ok || !there.headers.get('content-type')?.startsWith('application/json')) return;
  $('stage').hidden = false;
  drawStage(await there.json());
  const source = new EventSource(new URL('stage/events', base));
  source.addEventListener('stage', (event) => drawStage(JSON.parse(event.data)));
}
calmly(stage());

let following = false;
async function follow() {
  if (following) return;
  following = true;
  try {
    calmly(health());
    const answer = await ask('v1/events?figures=true');
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const data = text.slice(0, end).split('\n').find((line) => line.startsWith('data: '));
        const kind = text.slice(0, end).split('\n')[0];
        text = text.slice(end + 2);
        if (data) (kind === 'event: figures' ? figures : happened)(JSON.parse(data.slice(6)));
      }
    }
  } catch (error) {
    console.warn(error);
  }
  following = false;
  if (!$('token').hidden) return;
  state('unreachable');
  before = null;
  view = '';
  setTimeout(follow, 1000);
}
follow();
