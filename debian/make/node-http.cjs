// From Node.js 22 on, an ES module that imports node:http loads Node's own copy of undici and HTTP/2, whether it uses the
// WebSocket among the exports or not: 8 MB of memory in each service. CommonJS loads them with their first use.
module.exports = process.getBuiltinModule('node:http');
