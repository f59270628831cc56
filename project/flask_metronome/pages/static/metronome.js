// Keeps a page of now: asks for it anew, swaps in only what changed, and says how
// old it is. Nothing here is needed to read a page or to send a form.
(function () {
  "use strict";

  var main = document.getElementById("main");
  var live = document.getElementById("live");
  var seconds = Math.max(1, Number(main && main.dataset.seconds) || 5);
  var skew = 0;          // server clock minus ours, milliseconds
  var seenAt = Date.now();
  var lost = "";
  var busy = false;
  var raw = new Map();   // what the server sent, by block
  var local = false;     // times in the reader's own zone

  function two(n) { return (n < 10 ? "0" : "") + n; }

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
    return h ? h + ":" + two(m) + ":" + two(s % 60) : m + ":" + two(s % 60);
  }

  function clock(date) {
    return two(date.getHours()) + ":" + two(date.getMinutes()) + ":" + two(date.getSeconds());
  }

  // «2027-01-31 08:00:00.000», cut to what the server wrote there
  function here(iso, length) {
    var d = new Date(iso);
    var day = d.getFullYear() + "-" + two(d.getMonth() + 1) + "-" + two(d.getDate());
    var ms = ("00" + d.getMilliseconds()).slice(-3);
    return (day + " " + clock(d) + "." + ms).slice(0, length);
  }

  function set(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function tell() {
    var now = Date.now() + skew;
    document.querySelectorAll("time.ago").forEach(function (node) {
      var ms = Date.parse(node.dateTime) - now;
      set(node, node.classList.contains("countdown") ? countdown(ms) : words(ms));
    });
    if (!live || !main) return;
    var age = Math.round((Date.now() - seenAt) / 1000);
    var text = lost ? "Not refreshed since " + clock(new Date(seenAt)) + ": " + lost
      : document.hidden ? "paused" : age < 2 ? "live" : "updated " + age + " s ago";
    live.className = "live" + (lost ? " lost" : "");
    main.classList.toggle("stale", Boolean(lost) && age > 30);
    set(live.querySelector(".said"), text);
  }

  // --- the reader's own zone ---

  function zoned(scope) {
    scope.querySelectorAll("time.at").forEach(function (node) {
      if (!node.dataset.utc) node.dataset.utc = node.textContent;
      var utc = node.dataset.utc;
      set(node, local ? here(node.dateTime, utc.length) : utc);
    });
    var name = local ? zoneName() : "UTC";
    scope.querySelectorAll(".zone").forEach(function (node) { set(node, name); });
  }

  function zoneName() {
    try {
      return Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
    } catch (error) {
      return "local";
    }
  }

  function offerZone() {
    var own = zoneName();
    if (!live || own === "UTC" || own === "Etc/UTC") return;
    var button = document.createElement("button");
    button.type = "button";
    button.id = "zone";
    button.className = "quiet";
    function show() {
      button.textContent = local ? own : "UTC";
      button.title = "Times are in " + (local ? own : "UTC") + "; show them in " + (local ? "UTC" : own);
      zoned(document);
    }
    button.addEventListener("click", function () {
      local = !local;
      try { localStorage.setItem("metronome-zone", local ? "local" : "utc"); } catch (error) { /* not kept */ }
      show();
    });
    try { local = localStorage.getItem("metronome-zone") === "local"; } catch (error) { local = false; }
    live.after(button);
    show();
  }

  // --- refresh ---

  // A block as the server sent it, less what is ours to tell and what is new each time.
  function plain(node) {
    var copy = node.cloneNode(true);
    copy.querySelectorAll("time, .zone").forEach(function (time) {
      time.textContent = "";
      time.removeAttribute("data-utc");
    });
    copy.querySelectorAll("input[name=once]").forEach(function (once) { once.removeAttribute("value"); });
    return copy.outerHTML;
  }

  function note(scope) {
    scope.querySelectorAll("[data-live]").forEach(function (node) { raw.set(node.id, plain(node)); });
    var at = scope.querySelector("#clock");
    if (at) skew = Date.parse(at.dataset.now) - Date.now();
  }

  function ids(scope) {
    return Array.prototype.map.call(
      scope.querySelectorAll("[data-rows] > [data-live]"),
      function (node) { return node.id; }
    ).join();
  }

  // Somebody is about to send a form of this block: it stays as it is.
  function inUse(node) {
    return Boolean(node.querySelector("details.act[open]")) ||
      (node.contains(document.activeElement) && /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName));
  }

  // Puts a block in the place of its older self: what was unfolded, scrolled or
  // focused there is so again.
  function put(old, node) {
    var fresh = document.importNode(node, true);
    var focused = document.activeElement;
    var href = old.contains(focused) ? focused.getAttribute("href") : null;
    var within = old.contains(focused) ? focused.closest("[id]").id : null;
    var was = {};
    old.querySelectorAll("details[id]").forEach(function (details) {
      var pre = details.querySelector("pre");
      was[details.id] = { open: details.open, top: pre ? pre.scrollTop : 0, left: pre ? pre.scrollLeft : 0 };
    });
    zoned(fresh);
    old.replaceWith(fresh);
    fresh.querySelectorAll("details[id]").forEach(function (details) {
      var then = was[details.id];
      if (!then) return;
      details.open = then.open;
      var pre = details.querySelector("pre");
      if (pre) { pre.scrollTop = then.top; pre.scrollLeft = then.left; }
    });
    var again = href ? fresh.querySelector('[href="' + CSS.escape(href) + '"]')
      : within && within !== fresh.id ? fresh.querySelector("#" + CSS.escape(within) + " summary") : null;
    if (again) again.focus({ preventScroll: true });
  }

  // A block that comes or goes takes its place among the others.
  function arrange(fresh) {
    var last = null;
    fresh.querySelectorAll("#main > [data-live]").forEach(function (node) {
      var here = document.getElementById(node.id);
      if (!here) {
        here = document.importNode(node, true);
        zoned(here);
        if (last) last.after(here);
        else main.prepend(here);
      }
      last = here;
    });
    main.querySelectorAll(":scope > [data-live]").forEach(function (node) {
      if (!fresh.getElementById(node.id) && !inUse(node)) node.remove();
    });
  }

  function swap(fresh) {
    var rows = document.querySelector("[data-rows]");
    var rowsSame = ids(document) === ids(fresh);
    arrange(fresh);
    fresh.querySelectorAll("[data-live]").forEach(function (node) {
      var old = document.getElementById(node.id);
      var isRow = node.parentNode.hasAttribute("data-rows");
      var now = plain(node);
      if ((isRow && !rowsSame) || !old || raw.get(node.id) === now || inUse(old)) return;
      put(old, node);
      raw.set(node.id, now);
    });
    if (!rowsSame && rows) put(rows, fresh.querySelector("[data-rows]"));
    var at = fresh.querySelector("#clock");
    skew = Date.parse(at.dataset.now) - Date.now();
    document.title = fresh.title;
  }

  function refresh() {
    if (busy || document.hidden) return;
    busy = true;
    var stop = new AbortController();
    var timer = setTimeout(function () { stop.abort(); }, 10000);
    var headers = { Accept: "text/html", "Metronome-Refresh": "1" };
    fetch(location.href, { signal: stop.signal, headers: headers, cache: "no-store" })
      .then(function (answer) {
        if (!answer.ok) throw new Error(answer.status === 401 ? "logged out" : "error " + answer.status);
        return answer.text();
      })
      .then(function (text) {
        var fresh = new DOMParser().parseFromString(text, "text/html");
        if (!fresh.getElementById("clock")) throw new Error("error: not our page");
        seenAt = Date.now();
        lost = "";
        swap(fresh);
      })
      .catch(function (error) {
        lost = /^error|^logged out/.test(error.message) ? error.message : "no connection";
      })
      .finally(function () {
        clearTimeout(timer);
        busy = false;
        tell();
      });
  }

  // --- the stream of changes: only says when to look, so nothing depends on it ---

  var source = null;
  // no new try before: who clicks through pages must not use up the streams
  var again = Date.now() + 5000;
  var soon = 0;

  function changed() {
    if (soon) return;
    // many changes at once are one look
    soon = setTimeout(function () { soon = 0; refresh(); }, Math.max(200, 2000 - (Date.now() - seenAt)));
  }

  function follow() {
    if (source || document.hidden || !main.dataset.stream || !window.EventSource || Date.now() < again) return;
    source = new EventSource(main.dataset.stream);
    (main.dataset.kinds + " reset").split(" ").forEach(function (kind) { source.addEventListener(kind, changed); });
    source.onerror = function () {
      // it comes back by itself, but for a refusal: then asking now and then has to do
      if (source && source.readyState === EventSource.CLOSED) unfollow(60000);
    };
  }

  function unfollow(pause) {
    if (source) source.close();
    source = null;
    again = Date.now() + (pause || 0);
  }

  function turn() {
    var told = source && source.readyState === EventSource.OPEN;
    if (!told || Date.now() - seenAt > 3000 * seconds) refresh();
  }

  // A second click on a button would send the form twice.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("form[data-sent]").forEach(function (form) { delete form.dataset.sent; });
  });
  document.addEventListener("keydown", function (event) {
    var open = event.key === "Escape" && document.querySelector("details.act[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });

  if (main && main.dataset.seconds) {
    note(document);
    setInterval(turn, seconds * 1000);
    document.addEventListener("visibilitychange", function () {
      if (document.hidden) unfollow(2000);
      else refresh();
    });
    window.addEventListener("pagehide", function () { unfollow(); });
    setInterval(follow, 1000);
    offerZone();
  }
  tell();
  setInterval(tell, 1000);
})();
