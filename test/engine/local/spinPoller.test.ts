import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SpinPoller } from '../../../src/engine/local/spinPoller.js';
import { nextTurn, until } from '../../support/async.js';

/** Longer than any test. */
const LONG_MS = 600_000;

/** A channel whose other side is the test. */
class FakeChannel {
  readonly messages: unknown[] = [];
  readonly sleeps: boolean[] = [];
  polls = 0;
  onSleep = () => {};

  receive(): unknown {
    this.polls++;
    return this.messages.shift();
  }

  setAsleep(asleep: boolean): void {
    this.sleeps.push(asleep);
    if (asleep) this.onSleep();
  }
}

function pollerOn(channel: FakeChannel, isDue = () => true): { poller: SpinPoller; received: unknown[] } {
  const received: unknown[] = [];
  return { poller: new SpinPoller(channel, (message) => received.push(message), isDue), received };
}

test('polling once receives one message, if there is one', () => {
  const channel = new FakeChannel();
  const { poller, received } = pollerOn(channel);
  assert.equal(poller.poll(), false);
  channel.messages.push('a', 'b');
  assert.equal(poller.poll(), true);
  assert.deepEqual(received, ['a']);
  assert.deepEqual(channel.sleeps, []);
});

test('while it spins, messages are received without a wake, until it ends', async () => {
  const channel = new FakeChannel();
  const { poller, received } = pollerOn(channel);
  poller.spin(LONG_MS);
  assert.deepEqual(channel.sleeps, [false]);
  for (const message of ['a', 'b']) {
    channel.messages.push(message);
    await until(() => received.includes(message));
  }
  poller.spin(1);
  assert.deepEqual(channel.sleeps, [false]);
  poller.endSoon();
  await until(() => channel.sleeps.length === 2);
  assert.deepEqual(channel.sleeps, [false, true]);
  const { polls } = channel;
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  assert.equal(channel.polls, polls);
});

test('it sleeps when its time is over, and can spin again', async () => {
  const channel = new FakeChannel();
  const { poller } = pollerOn(channel);
  for (const sleeps of [2, 4]) {
    poller.spin(1);
    await until(() => channel.sleeps.length === sleeps);
  }
  assert.deepEqual(channel.sleeps, [false, true, false, true]);
});

test('while no message is due, a turn of the event loop polls once', async () => {
  const channel = new FakeChannel();
  const { poller } = pollerOn(channel, () => false);
  poller.spin(LONG_MS);
  for (let turn = 0; turn < 5; turn++) {
    const { polls } = channel;
    await nextTurn();
    assert.ok(channel.polls - polls <= 1);
  }
  poller.stop();
});

test('a message that is sent just before the other side can see the sleep is received', async () => {
  const channel = new FakeChannel();
  const { poller, received } = pollerOn(channel);
  channel.onSleep = () => channel.messages.push('late');
  poller.spin(0);
  await until(() => channel.sleeps.includes(true));
  assert.deepEqual(received, ['late']);
});

test('once stopped, it never polls again', async () => {
  const channel = new FakeChannel();
  const { poller, received } = pollerOn(channel);
  poller.spin(LONG_MS);
  await until(() => channel.polls > 0);
  poller.stop();
  channel.messages.push('unread');
  const { polls } = channel;
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  assert.equal(poller.poll(), false);
  assert.equal(channel.polls, polls);
  assert.deepEqual(received, []);
});
