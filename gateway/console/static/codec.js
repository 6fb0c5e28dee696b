// Encrypted payloads are decoded by the endpoint of this installation, asked by the browser: keys and values never pass the gateway.
import { note } from "./dom.js";

const TOKEN = "backbeat-codec-token";

// Objects that stand for a payload, each with the object that has it, so that it can be replaced there.
function sealedIn(value, found = []) {
  if (value === null || typeof value !== "object") return found;
  for (const [key, part] of Object.entries(value)) {
    if (part !== null && typeof part === "object" && typeof part.$backbeat === "string") found.push([value, key]);
    else sealedIn(part, found);
  }
  return found;
}

async function decode(url, payloads) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ payloads }), credentials: "omit", referrerPolicy: "no-referrer" });
  if (answer.status === 401) {
    sessionStorage.removeItem(TOKEN);
    throw new Error("token");
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error || String(answer.status));
  return content;
}

async function show(place, url) {
  const answer = await fetch(place.dataset.sealed);
  if (!answer.ok) throw new Error(`The payload could not be read: ${answer.status}`);
  const box = { value: JSON.parse(await answer.text()) };
  const sealed = sealedIn(box);
  const { payloads, errors } = await decode(url, sealed.map(([owner, key]) => owner[key]));
  sealed.forEach(([owner, key], index) => { owner[key] = errors[index] === null ? payloads[index] : `not decoded: ${errors[index]}`; });
  const text = document.createElement("pre");
  text.className = "decoded";
  text.tabIndex = 0;
  text.textContent = JSON.stringify(box.value, null, 2);
  const word = document.createElement("p");
  word.className = "quiet";
  word.textContent = "Decoded by your browser; it is in this page alone.";
  place.after(word, text);
  note("decoded");
}

function askForToken(button, again) {
  const form = document.createElement("form");
  const label = document.createElement("label");
  const input = document.createElement("input");
  const send = document.createElement("button");
  form.className = "form";
  label.append("Token of the codec endpoint ", input);
  input.type = "password";
  input.autocomplete = "off";
  send.textContent = "Decode";
  form.append(label, send);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, input.value);
    form.remove();
    again();
  });
  button.after(form);
  input.focus();
}

function addDecoder(place, url) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Decode";
  const problem = document.createElement("p");
  problem.className = "why";
  problem.setAttribute("role", "alert");
  const run = async () => {
    // From now on the page stays as it is: a form, an answer on its way or a text would be lost with what it replaces.
    place.classList.add("decoding");
    problem.remove();
    try {
      await show(place, url);
      button.remove();
    } catch (error) {
      if (error.message === "token") askForToken(button, run);
      else {
        problem.textContent = `It was not decoded: ${error.message}`;
        button.after(problem);
      }
    }
  };
  button.addEventListener("click", run);
  place.after(button);
}

export function addDecoders(main) {
  if (!main.dataset.codec) return;
  const url = `${main.dataset.codec.replace(/\/$/, "")}/decode`;
  main.querySelectorAll("[data-sealed]").forEach((place) => addDecoder(place, url));
}
