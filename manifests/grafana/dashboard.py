"""Parts that the dashboards are made of: queries, panels, variables and the grid. Knows Grafana's JSON, and no metric."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24

GREEN, YELLOW, RED = "green", "yellow", "red"


# --- Queries --------------------------------------------------------------------------------------------------------


def query(expr, legend="", ref=None, table=False, instant=False):
    """A query; a table has the labels as columns and the newest values only."""
    instant = instant or table
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": " ".join(expr.split()),
        "legendFormat": legend or "__auto",
        "format": "table" if table else "time_series",
        "instant": instant,
        "range": not instant,
    }


def with_references(queries):
    """Names the queries A, B, …, unless they have names."""
    return [{**it, "refId": it["refId"] or chr(ord("A") + at)} for at, it in enumerate(queries)]


# --- How fields look ------------------------------------------------------------------------------------------------


def thresholds(*steps):
    """Colours from a value on: `thresholds((None, GREEN), (1, RED))`."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def mapping(texts):
    """Texts and colours for values: `mapping({0: ("no", RED)})`."""
    options = {
        str(value): {"text": text, "color": color, "index": at}
        for at, (value, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def override(name, **properties):
    """What is different in the field of this name; `_` in a property's name stands for a dot."""
    listed = [{"id": key.replace("_", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": listed}


def _field_config(unit, custom, overrides, color="palette-classic", **defaults):
    fields = {"unit": unit, "color": {"mode": color}, "custom": custom, "mappings": [], **defaults}
    fields.setdefault("thresholds", thresholds((None, GREEN)))
    return {"defaults": fields, "overrides": list(overrides)}


# --- Panels ---------------------------------------------------------------------------------------------------------

_LEGEND = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
_TOOLTIP = {"mode": "multi", "sort": "desc"}


def _panel(kind, title, description, size, queries, options, field_config, transformations=()):
    width, height = size
    return {
        "type": kind,
        "title": title,
        "description": " ".join(description.split()),
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0},
        "targets": with_references(queries),
        "options": options,
        "fieldConfig": field_config,
        "transformations": list(transformations),
    }


def lines(
    title,
    description,
    queries,
    unit="short",
    size=(12, 8),
    axis="",
    stacked=False,
    steps=False,
    overrides=(),
    legend_table=False,
):
    """Values over time."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 5,
        "lineInterpolation": "stepAfter" if steps else "linear",
        "showPoints": "never",
        "spanNulls": False,
        "axisLabel": axis,
        "axisSoftMin": 0,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off"},
    }
    legend = {
        **_LEGEND,
        **({"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]} if legend_table else {}),
    }
    return _panel(
        "timeseries",
        title,
        description,
        size,
        queries,
        {"legend": legend, "tooltip": _TOOLTIP},
        _field_config(unit, custom, overrides),
    )


def dashed(name, color):
    """A bound: a dashed line of one colour without area."""
    return override(
        name,
        color={"mode": "fixed", "fixedColor": color},
        custom_lineStyle={"fill": "dash", "dash": [10, 10]},
        custom_fillOpacity=0,
    )


def stat(
    title,
    description,
    queries,
    unit="short",
    size=(4, 4),
    levels=None,
    text="auto",
    graph="area",
    transformations=(),
    mappings=(),
    decimals=None,
    no_value=None,
):
    """One number; `levels` colour it."""
    options = {
        "graphMode": graph,
        "colorMode": "value" if levels or mappings or transformations else "none",
        "justifyMode": "auto",
        "textMode": text,
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    more = {"mappings": list(mappings)}
    if levels:
        more["thresholds"] = thresholds(*levels)
    if decimals is not None:
        more["decimals"] = decimals
    if no_value is not None:
        more["noValue"] = no_value
    color = "thresholds" if options["colorMode"] == "value" else "palette-classic"
    return _panel(
        "stat", title, description, size, queries, options, _field_config(unit, {}, (), color, **more), transformations
    )


def table(title, description, queries, columns, size=(24, 10), sort=None, overrides=()):
    """The newest values side by side, one row for each set of labels that the queries share.

    `columns`: the fields to show in their order, by the label or `Value #REF`, with the text at the top."""
    options = {
        "showHeader": True,
        "frameIndex": 0,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": [], "enablePagination": True},
    }
    if sort:
        options["sortBy"] = [{"displayName": sort, "desc": True}]
    # One query alone has `Value`, several have `Value #REF`.
    hidden = {"Time": True, "Value": True, **{f"Value #{it['refId']}": True for it in with_references(queries)}}
    organize = {
        "excludeByName": {name: True for name in hidden if name not in columns},
        "indexByName": {name: at for at, name in enumerate(columns)},
        "renameByName": columns,
    }
    transformations = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    custom = {"align": "auto", "inspect": False, "filterable": True, "cellOptions": {"type": "auto"}}
    return _panel(
        "table", title, description, size, queries, options, _field_config("short", custom, overrides), transformations
    )


def heatmap(title, description, queries, unit="short", size=(12, 10)):
    """One row for each series, coloured by its value."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": unit},
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "unknown"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "reverse": False},
    }
    custom = {"hideFrom": {"legend": False, "tooltip": False, "viz": False}, "scaleDistribution": {"type": "linear"}}
    return _panel("heatmap", title, description, size, queries, options, _field_config(unit, custom, ()))


def timeline(title, description, queries, texts, size=(12, 8)):
    """States over time, one row for each series."""
    options = {
        "showValue": "never",
        "rowHeight": 0.9,
        "mergeValues": True,
        "legend": _LEGEND,
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False}
    return _panel(
        "state-timeline",
        title,
        description,
        size,
        queries,
        options,
        _field_config("short", custom, (), mappings=mapping(texts)),
    )


def row(title):
    """A heading over the panels that follow."""
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"w": WIDTH, "h": 1, "x": 0, "y": 0},
    }


def placed(panels):
    """Places the panels from left to right and from top to bottom, and numbers them."""
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        grid = panel["gridPos"]
        if x + grid["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        grid["x"], grid["y"] = x, y
        x, height = x + grid["w"], max(height, grid["h"])
        panel["id"] = number
    return panels


# --- Around the panels ----------------------------------------------------------------------------------------------


def datasource_variable():
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "hide": 0,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "regex": "",
        "options": [],
    }


def variable(name, label, of, several=True):
    """The values of a label, as `label_values(metric, label)` gives them."""
    more = {"allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}} if several else {}
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": of,
        "definition": of,
        "hide": 0,
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "multi": several,
        "includeAll": several,
        "options": [],
        **more,
    }


def annotation(name, expr, color, title, text, tags=""):
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": " ".join(expr.split()),
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": tags,
        "useValueForTime": False,
    }


def dashboard(uid, title, description, variables, panels, annotations=(), since="now-3h"):
    link = {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": ["paceline"],
        "targetBlank": False,
        "title": "Paceline",
        "tooltip": "The other dashboards of Paceline",
        "type": "dashboards",
        "url": "",
    }
    return {
        "uid": uid,
        "title": title,
        "description": " ".join(description.split()),
        "tags": ["paceline", "kafka", "autoscaling"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "links": [link],
        "templating": {"list": [datasource_variable(), *variables]},
        "annotations": {"list": list(annotations)},
        "panels": placed(panels),
    }
