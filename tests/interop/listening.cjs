// Loaded before a server: has it listen on this machine only, and print the port.

const { Server } = require("node:net");

const { listen } = Server.prototype;
Server.prototype.listen = function (port, then) {
  this.once("listening", () => console.log(`listening on ${this.address().port}`));
  return listen.call(this, { host: "127.0.0.1", port }, then);
};
