// @ts-check
/**
 * The sign-in form, for servers that ask who is there: a token for the calls over HTTP, a key for the connection.
 */
import { DownloadError, fromBase64Url } from './client.js';
import { client, forget, isAuthError, keep, on, stored, use } from './session.js';
import { $, element, humanError, input, setBanner } from './text.js';

/** @typedef {import('./session.js').Credentials} Credentials */

const form = $('#sign-in');
/** Loads what the form of exports is made of; rejects when the server refuses the token. */
let load = async () => {};
/** What the connection is waited for with. @type {{ resolve: () => void, reject: (error: Error) => void } | undefined} */
let waiting;

/** Starts with the credentials that were kept, if any; `loadFirst` is the first call that needs them. @param {() => Promise<void>} loadFirst */
export async function begin(loadFirst) {
  load = loadFirst;
  const kept = stored();
  try {
    if (kept) use(kept);
    await load();
    client.connect();
  } catch (error) {
    if (kept) forget();
    askToSignIn(kept ? 'The server no longer accepts these credentials.' : '');
  }
}

/** Shows the form in place of the page. @param {string} [why] */
export function askToSignIn(why = '') {
  if (document.body.dataset.view === 'sign-in') return; // a late answer must not take the focus from a field
  client.close();
  document.body.dataset.view = 'sign-in';
  setBanner($('#sign-in-error'), globalThis.isSecureContext ? why : 'Signing in takes a secure page. Open this one over https, or on localhost.');
  input('token').focus();
}

/** @returns {Credentials} */
const read = () => ({
  token: input('token').value.trim(),
  keyId: input('key-id').value.trim(),
  secret: input('key-secret').value.trim(),
  seals: input('seal').checked,
});

/** @param {Credentials} given @returns {[string, string][]} field and what is wrong with it */
function problemsOf({ token, keyId, secret }) {
  /** @type {[string, string][]} */
  const problems = [];
  if (!/^[\x21-\x7e]+$/.test(token)) problems.push(['token', token ? 'A token is one word without spaces.' : 'Give the access token.']);
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(keyId)) problems.push(['key-id', keyId ? 'Up to 32 letters, digits, - and _.' : 'Give the id of your key.']);
  if (fromBase64Url(secret)?.length !== 32) problems.push(['key-secret', secret ? '43 letters, digits, - and _.' : 'Give the secret of your key.']);
  return problems;
}

/** @param {[string, string][]} problems */
function show(problems) {
  for (const old of form.querySelectorAll('.field-error')) old.remove();
  for (const field of form.querySelectorAll('[aria-invalid]')) field.removeAttribute('aria-invalid');
  for (const [id, message] of problems) {
    const note = element('p', message, 'field-error');
    note.id = `${id}-problem`;
    input(id).after(note);
    input(id).setAttribute('aria-invalid', 'true');
    input(id).setAttribute('aria-errormessage', note.id);
  }
  const first = problems[0];
  if (first) input(first[0]).focus();
}

/** @param {Event} event */
async function signIn(event) {
  event.preventDefault();
  const button = $('#sign-in-button');
  if (button.getAttribute('aria-busy') === 'true') return;
  const given = read();
  const problems = problemsOf(given);
  show(problems);
  setBanner($('#sign-in-error'), '');
  if (problems.length > 0) return;
  button.setAttribute('aria-busy', 'true');
  try {
    await enter(given);
  } finally {
    button.removeAttribute('aria-busy');
  }
}

/** @param {Credentials} given */
async function enter(given) {
  try {
    use(given);
    await load();
  } catch (error) {
    if (isAuthError(error)) show([['token', 'The server does not accept this token.']]);
    else setBanner($('#sign-in-error'), error instanceof DownloadError ? humanError(error) : String(error));
    return;
  }
  const opened = new Promise((resolve, reject) => { waiting = { resolve: () => resolve(undefined), reject }; });
  client.connect();
  try {
    await opened;
  } catch (error) {
    client.close();
    if (isAuthError(error)) show([['key-id', 'The server does not accept this key id and secret.'], ['key-secret', '']]);
    else setBanner($('#sign-in-error'), humanError(error));
    return;
  }
  if (input('keep').checked) keep(given);
  else forget();
  // The fields would keep them where any script of an extension reads them.
  for (const id of ['token', 'key-secret']) input(id).value = '';
  document.body.dataset.view = '';
  $('#dataset').focus();
}

on('hello', () => {
  waiting?.resolve();
  waiting = undefined;
});
on('connection:failed', ({ code, reason }) => {
  const isAuth = code === 4401 || code === 4400;
  waiting?.reject(new DownloadError({ code: isAuth ? 'AUTH_INVALID' : 'NETWORK_ERROR', message: reason }));
  if (!waiting && isAuth) askToSignIn(`The connection was refused: ${reason || 'the key is no longer accepted'}.`);
  waiting = undefined;
});
form.addEventListener('submit', signIn);
$('#sign-out').addEventListener('click', () => {
  forget();
  location.reload(); // and with it everything that was in memory
});
