// What the published page has inline, which our policy forbids: how bundles import, and where they are.
function browserImportFunction(name) { return import(name); }
window.PUBLIC_URL = "/ohif/";
