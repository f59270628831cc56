// Keeps the page of now: fetches its live part, swaps in only what changed, and
// says how old it is. Without this script the page reloads itself by <meta>.
(function () {
  "use strict";

  var root = document.getElementById("now");
  var live = document.getElementById("live");
  var skew = 0;          // server clock minus ours, milliseconds
  var seenAt = Date.now();
  var lost = "";
  var busy = false;
  var raw = new Map();   // what the server sent, by block

  function words(ms) {
    var s = Math.abs(ms) / 1000;
    if (s < 1) return "now";
    var text = s < 90 ? Math.round(s) + " s"
      : s < 5400 ? Math.round(s / 60) + " min"
      : s < 129600 ? Math.round(s / 3600) + " h"
      : Math.round(s / 86400) + " d";
    return ms > 0 ? "in " + text : text + " ago";
  }

  function countdown(ms) {
    if (ms <= 0) return ms > -5000 ? "due now" : words(-ms).replace("in ", "") + " overdue";
    var s = Math.ceil(ms / 1000);
    if (s >= 86400) return words(ms);
    var h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    var two = function (n) { return (n < 10 ? "0" : "") + n; };
    return h ? h + ":" + two(m) + ":" + two(s % 60) : m + ":" + two(s % 60);
  }

  function set(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function tell() {
    var now = Date.now() + skew;
    document.querySelectorAll("time[datetime]").forEach(function (node) {
      var ms = Date.parse(node.dateTime) - now;
      set(node, node.classList.contains("countdown") ? countdown(ms) : words(ms));
    });
    if (!live || !root) return;
    var age = Math.round((Date.now() - seenAt) / 1000);
    var text = lost ? lost + ", last updated " + age + " s ago"
      : document.hidden ? "paused" : age < 2 ? "live" : "updated " + age + " s ago";
    live.className = "live" + (lost ? " lost" : "");
    root.classList.toggle("stale", Boolean(lost) && age > 30);
    set(live.querySelector(".said"), text);
  }

  // A block as the server sent it, less the distances, which are ours to tell.
  function plain(node) {
    var copy = node.cloneNode(true);
    copy.querySelectorAll("time").forEach(function (time) { time.textContent = ""; });
    return copy.outerHTML;
  }

  function note(scope) {
    scope.querySelectorAll("[data-live]").forEach(function (node) {
      raw.set(node.id, plain(node));
    });
    var clock = scope.querySelector("#clock");
    if (!clock) return false;
    skew = Date.parse(clock.dataset.now) - Date.now();
    var trouble = Number(clock.dataset.trouble);
    document.title = (trouble ? "(" + trouble + ") " : "") + "Metronome";
    return true;
  }

  function ids(scope) {
    return Array.prototype.map.call(
      scope.querySelectorAll("[data-rows] > [data-live]"),
      function (node) { return node.id; }
    ).join();
  }

  function swap(fresh) {
    var rows = document.querySelector("[data-rows]");
    var rowsSame = ids(root) === ids(fresh);
    fresh.querySelectorAll("[data-live]").forEach(function (node) {
      var old = document.getElementById(node.id);
      var isRow = node.parentNode.hasAttribute("data-rows");
      if ((isRow && !rowsSame) || !old || raw.get(node.id) === plain(node)) return;
      var focused = document.activeElement;
      var href = old.contains(focused) ? focused.getAttribute("href") : null;
      old.replaceWith(document.importNode(node, true));
      if (href) {
        var again = document.getElementById(node.id).querySelector('[href="' + CSS.escape(href) + '"]');
        if (again) again.focus({ preventScroll: true });
      }
    });
    if (!rowsSame && rows) {
      rows.replaceWith(document.importNode(fresh.querySelector("[data-rows]"), true));
    }
    note(fresh);
  }

  function refresh() {
    if (busy || document.hidden) return;
    busy = true;
    var address = new URL(root.dataset.address, location.href);
    address.searchParams.set("part", "now");
    var stop = new AbortController();
    var timer = setTimeout(function () { stop.abort(); }, 10000);
    fetch(address, { signal: stop.signal, headers: { Accept: "text/html" }, cache: "no-store" })
      .then(function (answer) {
        if (!answer.ok) throw new Error(answer.status === 401 ? "logged out" : "error " + answer.status);
        return answer.text();
      })
      .then(function (text) {
        var fresh = new DOMParser().parseFromString(text, "text/html");
        if (!fresh.getElementById("clock")) throw new Error("not our page");
        seenAt = Date.now();
        lost = "";
        swap(fresh);
      })
      .catch(function (error) {
        lost = error.message.indexOf("error") === 0 || error.message === "logged out"
          ? "Lost: " + error.message : "Lost connection";
      })
      .finally(function () {
        clearTimeout(timer);
        busy = false;
        tell();
      });
  }

  if (root) {
    note(document);
    setInterval(refresh, Math.max(1, Number(root.dataset.seconds) || 5) * 1000);
    document.addEventListener("visibilitychange", refresh);
  }
  tell();
  setInterval(tell, 1000);
})();
