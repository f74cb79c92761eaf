const { connect } = require("tidings");
const { main } = require("./program.mjs");

if (typeof connect !== "function") throw new TypeError("no connect");
main(process.argv[2]);
