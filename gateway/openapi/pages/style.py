"""Style sheet of the API's page: light and dark, screen and print."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --faint: #767676; }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; display: grid; grid-template-columns: 21rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; font-size: 12px; }
nav { border-right: 1px solid var(--line); }
nav a { display: block; padding: .15rem 0; color: inherit; text-decoration: none; }
nav a:hover, nav a:focus { text-decoration: underline; }
nav h2 { font-size: 13px; margin: 1rem 0 .25rem; text-transform: capitalize; }
main { max-width: 64rem; padding: 1rem 2rem 4rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 1.5rem 0 .25rem; }
h2.group { font-size: 1.5rem; margin-top: 3rem; }
h3 { margin: 0 0 .5rem; font-size: 1.1rem; } h4 { margin: 1rem 0 .25rem; } p { margin: .25rem 0; }
section { border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.25rem; margin: 1rem 0; }
section:target { outline: 2px solid #4a90d9; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); border-radius: 6px; padding: .75rem; overflow: auto; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: normal; }
.small { color: var(--faint); font-size: 13px; }
.get { color: #1a7f4b; } .post { color: #2569c4; } .put { color: #b05a00; }
summary { cursor: pointer; margin-top: .5rem; }
@media (prefers-color-scheme: dark) {
  :root { --faint: #a0a0a0; } .get { color: #5fd39a; } .post { color: #7db4ff; } .put { color: #ffb464; }
}
@media (max-width: 60rem), print {
  body { display: block; } nav { position: static; height: auto; border: 0; } main { padding: 1rem; }
}
"""
