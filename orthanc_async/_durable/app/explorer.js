// Runs inside Orthanc Explorer (jQuery Mobile): a button on the pages where one looks for work.
(function ($) {
  "use strict";
  if (!$) {
    return;
  }

  function addButton() {
    var buttons = $(this).find(".ui-btn-right[data-role=controlgroup]").first();
    if (buttons.find(".orthanc-async-link").length) {
      return;
    }
    $("<a>")
      .attr({
        href: "../async/app/index.html",
        rel: "external",
        "data-ajax": "false",
        "data-icon": "forward",
        "data-role": "button",
      })
      .addClass("orthanc-async-link")
      .text("Deliveries")
      .appendTo(buttons);
  }

  $.each(["#lookup", "#jobs"], function (_, page) {
    if ($.fn.on) {
      $(document).on("pagebeforecreate", page, addButton);
    } else {
      $(page).live("pagebeforecreate", addButton);
    }
  });
})(window.jQuery);
