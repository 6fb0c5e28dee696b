// The one place where text becomes nodes: pages of this console, whose templates escape all that is not theirs.
const policy = window.trustedTypes
  ? trustedTypes.createPolicy("backbeat", { createHTML: (text) => text })
  : { createHTML: (text) => text };

export function parse(text) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(text);
  return template.content;
}

// A message for screen readers; of what nobody has asked for at most one in five seconds.
let saidAt = 0;
export function note(text, isAsked = false) {
  const now = Date.now();
  if (!isAsked && now - saidAt < 5000) return;
  saidAt = now;
  document.getElementById("said").textContent = text;
}
