//! Real projects, made by QGIS 3.22, and files that are none.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// What the passwords in the fixtures have in common, and texts that only silent places hold.
const NEVER_SHOWN: [&str; 7] =
    ["S3cret", "LEAKED", "hunter", "TITLE_WORD", "PROSE", "DESCRIPTION", "IN_"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qgis_project").join(name)
}

/// Reads a fixture both ways.
fn project(name: &str) -> Project {
    let plain = read(&fixture(&format!("{name}.qgs"))).unwrap();
    let zipped = read(&fixture(&format!("{name}.qgz"))).unwrap();
    assert_eq!(
        // QGIS wrote both from the same project, one after the other.
        serde_json::to_value(&plain).unwrap(),
        serde_json::to_value(&zipped).unwrap()
    );
    for hidden in NEVER_SHOWN {
        assert!(!format!("{plain:?}").contains(hidden), "{hidden}");
    }
    plain
}

fn parse(bytes: impl AsRef<[u8]>) -> Result<Project, Fault> {
    // A limit that a test reaches in no time.
    open::with_xml_of(Cursor::new(bytes.as_ref()), 1 << 23, walk::walk)
}

fn fault(bytes: impl AsRef<[u8]>) -> String {
    let fault = parse(bytes).unwrap_err();
    let name = format!("{fault:?}");
    name.split('(').next().unwrap().to_owned()
}

/// A project with one layer, whose elements are given.
fn with_layer(inside: &str) -> String {
    format!("<qgis><projectlayers><maplayer>{inside}</maplayer></projectlayers></qgis>")
}

#[test]
fn connections_of_a_real_project() {
    let mut layers = project("connections").layers;
    layers.sort_by(|a, b| a.name.cmp(&b.name));
    let told: Vec<_> = layers
        .iter()
        .map(|layer| {
            let source = &layer.source;
            (
                layer.name.as_str(),
                layer.provider.as_str(),
                source.service.as_deref().unwrap_or("-"),
                source.user.as_deref().unwrap_or("-"),
                source.beats_service().join(" "),
                source.own_password,
            )
        })
        .collect();
    let none = String::new;
    assert_eq!(
        told,
        [
            ("a service with a blank", "postgres", "field work <1>", "-", none(), false),
            ("host & password", "postgres", "-", "alice", none(), true),
            ("raster", "postgresraster", "ninja", "-", "dbname sslmode".to_owned(), false),
            (
                "service and own user",
                "postgres",
                "ninja",
                "o'hara",
                "dbname user sslmode".to_owned(),
                false
            ),
            ("service only", "postgres", "ninja", "-", none(), false),
            ("through GDAL", "ogr", "ninja", "gdal", "host user password".to_owned(), true),
            ("with authcfg", "postgres", "ninja", "-", "authcfg".to_owned(), false),
        ]
    );
    let own = &layers[1].source;
    assert_eq!(own.host.as_deref(), Some("db.example.org"));
    assert_eq!(own.port.as_deref(), Some("5433"));
    assert_eq!(own.database.as_deref(), Some("gis"));
    assert!(layers[1].id.starts_with("host___password_"), "{}", layers[1].id);
    // QGIS drops the host next to a service, so it is told and beats nothing.
    assert_eq!(layers[0].source.host.as_deref(), Some("ignored.example.org"));
}

#[test]
fn a_password_counts_only_when_it_is_sent() {
    for (provider, source, expected) in [
        ("postgres", "service=s password=p", vec![]),
        ("postgres", "service=s user=u password=p", vec!["user", "password"]),
        ("ogr", "PG:service=s password=p", vec!["password"]),
    ] {
        let source = datasource::parse(provider, source).postgres.unwrap();
        assert!(source.own_password);
        assert_eq!(source.beats_service(), expected);
    }
}

#[test]
fn expressions_of_a_real_project() {
    let found = project("expressions");
    let told =
        |uses: &[Use]| uses.iter().map(|u| format!("{} @ {}", u.name, u.place)).collect::<Vec<_>>();
    assert_eq!(
        told(&found.variables),
        [
            "ACTION @ layer trees: actionsetting action (open)",
            "API_KEY @ layer trees: default expression (key)",
            "CONDITION @ layer trees: style rule",
            "CONSTRAINT @ layer trees: constraint exp (checked)",
            "DISPLAY @ layer trees: previewExpression",
            "HTML_WIDGET @ layer trees: attributeEditorHtmlElement (html)",
            "LABEL @ layer trees: text-style fieldName",
            "LABEL_SIZE @ layer trees: dd_properties value (properties/Size/expression)",
            "LAYOUT @ layout sheet: LayoutItem labelText",
            "MAPTIP @ layer trees: mapTip",
            "MIXED @ layer trees: default expression (mixed)",
            "RULE @ layer trees: rule filter",
            "SUBSET @ layer filtered: datasource (filter)",
            "SYMBOL @ layer trees: data_defined_properties value (properties/angle/expression)",
            "VAR_KEY @ layer trees: default expression (form)",
            "VIRTUAL @ layer trees: field expression (virtual)",
            "VISIBILITY @ layer trees: attributeEditorContainer visibilityExpression (box)",
            "WIDGET @ layer trees: config value (FilterExpression)",
        ]
    );
    assert_eq!(
        told(&found.env_calls),
        [
            "API_KEY @ layer trees: default expression (called)",
            "ENV_KEY @ layer trees: default expression (form)",
            "MAPTIP @ layer trees: mapTip",
            "NOT_EVALUATED @ project: variableValues",
        ]
    );
    let uses = found.variables.iter().chain(&found.env_calls);
    let inert: Vec<_> = uses.filter(|u| !u.place.evaluated).map(|u| u.name.as_str()).collect();
    assert_eq!(inert, ["SUBSET", "NOT_EVALUATED"]);
}

#[test]
fn a_variable_that_the_project_defines_is_no_mistake() {
    let found = project("defined");
    assert_eq!(found.variables, []);
    assert_eq!(found.env_calls.len(), 1);
}

#[test]
fn definitions_hold_in_their_scope() {
    let both = |first: &str| {
        format!(
            "<qgis><projectlayers><maplayer><layername>a</layername>{first}\
             <default expression='@X'/></maplayer>\
             <maplayer><layername>b</layername><default expression='@X'/></maplayer>\
             </projectlayers><properties><properties name='Variables'>\
             <properties name='variableNames' type='QStringList'><value>Y</value></properties>\
             </properties></properties><x y='@X + @Y'/></qgis>"
        )
    };
    let scopes = |xml: &str| {
        let found = parse(xml).unwrap().variables;
        assert!(found.iter().all(|u| u.name == "X"));
        found.iter().map(|u| u.place.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        scopes(&both("")),
        ["project: x y", "layer a: default expression", "layer b: default expression"]
    );
    for defined in [
        "<customproperties><Option name='variableNames'><Option value='X'/></Option></customproperties>",
        "<customproperties><Option name='variableNames' value='X'/></customproperties>",
        "<customproperties><property key='variableNames'><value>X</value></property></customproperties>",
    ] {
        assert_eq!(scopes(&both(defined)), ["project: x y", "layer b: default expression"]);
    }
}

#[test]
fn xml_in_all_its_spellings() {
    let expression = |xml: &str| parse(with_layer(xml)).unwrap().variables.len();
    assert_eq!(expression("<previewExpression>&#64;A</previewExpression>"), 1);
    assert_eq!(expression("<previewExpression><![CDATA[1 <]]> @A</previewExpression>"), 1);
    assert_eq!(
        expression("<previewExpression>&quot;a&quot; &lt; @A<!-- ' --></previewExpression>"),
        1
    );
    assert_eq!(expression("<default expression='&#x40;A &lt; &quot;b&quot;'/>"), 1);
    assert_eq!(expression("<!-- <default expression='@A'/> -->"), 0);
    // A comment ends at the line's end, which stands as a reference in an attribute.
    assert_eq!(expression("<default expression='-- x&#xa;@A'/>"), 1);
    let many = "&quot;a&quot; || ".repeat(1000);
    assert_eq!(expression(&format!("<default expression='{many}@A'/>")), 1);

    let xml = with_layer(
        "<datasource>service=&apos;a&#x20;&amp;<![CDATA[ <b>' pass]]>word=&#112;</datasource>\
         <provider>postgres</provider><layername>l\u{1b}[0m</layername>",
    );
    let layer =
        &parse(format!("\u{feff}<?xml version='1.0' encoding='UTF-8'?>{xml}")).unwrap().layers[0];
    assert_eq!(layer.source.service.as_deref(), Some("a & <b>"));
    assert!(layer.source.own_password);
    assert_eq!(layer.name, "l\u{fffd}[0m");
}

#[test]
fn embedded_layers_are_counted() {
    let xml = "<qgis><projectlayers><maplayer embedded='1' project='./x.qgs' id='y'/>\
               <maplayer embedded='0'/></projectlayers></qgis>";
    assert_eq!(parse(xml).unwrap(), Project { embedded_layers: 1, ..Project::default() });
}

#[test]
fn settings_with_credentials_are_passed_over() {
    for option in [
        "<Option name='LayerSource' value='@A'/>",
        "<property key='remoteSource' value='@A'/>",
        "<Option name='Password' value='@A'/>",
        "<layer-tree-layer source='@A'/>",
        "<variableValues><value>@A</value></variableValues>",
    ] {
        assert_eq!(parse(with_layer(option)).unwrap().variables, [], "{option}");
    }
    // But what is below is an expression.
    let picture =
        "<Option name='dataDefinedSource'><Option name='expression' value='@A'/></Option>";
    assert_eq!(parse(with_layer(picture)).unwrap().variables.len(), 1);
    let field = "<default field='source' expression='@A'/>";
    assert_eq!(parse(with_layer(field)).unwrap().variables.len(), 1);
}

#[test]
fn what_is_no_project_is_told_apart() {
    let layer = with_layer("");
    let utf16: Vec<u8> = layer.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let entity = "<!DOCTYPE qgis [<!ENTITY x \"@A\">]>";
    for (bytes, expected) in [
        (&b"hello"[..], "NotAProject"),
        (b"\n \n", "NotAProject"),
        (b"<html><projectlayers/></html>", "NotAProject"),
        // A layer's style.
        (b"<!DOCTYPE qgis><qgis><renderer-v2/></qgis>", "NotAProject"),
        (b"<qgis><projectlayers/></qgis><qgis/>", "NotAProject"),
        (b"<qgis><projectlayers></qgis>", "Malformed"),
        (b"<qgis><projectlayers/>", "Malformed"),
        (b"<qgis><projectlayers/></qgis", "Malformed"),
        (b"<qgis><projectlayers a=b/></qgis>", "Malformed"),
        (b"<qgis><projectlayers/>&#xffffffff;</qgis>", "Malformed"),
        (b"<qgis a='@\xe4'/>", "NotUtf8"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><qgis/>", "NotUtf8"),
        (&utf16, "NotUtf8"),
        (&[&[0xff, 0xfe][..], &utf16].concat(), "NotUtf8"),
        (format!("{entity}{}", with_layer("<id>&x;</id>")).as_bytes(), "Entity"),
        (format!("{entity}{}", with_layer("<a b='@&x;'/>")).as_bytes(), "Entity"),
        ("<qgis>".repeat(600).as_bytes(), "TooLarge"),
        (b"PK", "BrokenZip"),
        (b"PK\x03\x04 and no more", "BrokenZip"),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "NoProject"),
    ] {
        assert_eq!(fault(bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn what_is_found_is_bounded() {
    let many: String = (0..100_001).map(|i| format!("<a f='@A{i}'/>")).collect();
    assert_eq!(fault(with_layer(&many)), "TooLarge");
}

#[test]
fn paths_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let empty = file.path();
    let missing = dir.path().join("missing.qgs");
    for (path, message) in [
        (dir.path(), "this is not a file; "),
        (Path::new("/dev/zero"), "this is not a file; "),
        (empty, "the file is empty; "),
        (&missing, "there is no such file; "),
        (&empty.join("below"), "the file cannot be read ("),
    ] {
        let error = read(path).unwrap_err().to_string();
        let expected = format!("{}: {message}", path.display());
        assert!(error.starts_with(&expected), "{error}");
    }
}

fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives() {
    let layer = with_layer("");
    let xml = layer.as_bytes();
    assert!(parse(zip_of(&[("a.qgd", b""), ("sub dir/B.QGS", xml)])).is_ok());
    assert_eq!(fault(zip_of(&[("a.qgd", b""), ("a.qgs.bak", xml), (".qgs", xml)])), "NoProject");
    assert_eq!(fault(zip_of(&[("a.qgs", xml), ("b.qgs", xml)])), "SeveralProjects");

    let whole = zip_of(&[("a.qgs", xml)]);
    for len in 2..whole.len() {
        assert_eq!(fault(&whole[..len]), "BrokenZip", "{len} bytes");
    }

    // What the two headers say of the member, told differently.
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        let central = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bytes[at] = value;
        bytes[central + at + 2] = value;
        fault(bytes)
    };
    assert_eq!(changed(6, 1), "Encrypted");
    assert_eq!(changed(8, 12), "Compression");
    // The checksum of the content.
    assert_eq!(changed(14, 0x55), "BrokenZip");
}

#[test]
fn a_zip_bomb_is_given_up_at_the_limit() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("a.qgs", SimpleFileOptions::default().compression_level(Some(1))).unwrap();
    zip.write_all(b"<qgis><projectlayers/>").unwrap();
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..8 {
        zip.write_all(&blanks).unwrap();
        zip.write_all(b"<a/>").unwrap();
    }
    zip.write_all(b"</qgis>").unwrap();
    let bomb = zip.finish().unwrap().into_inner();
    assert!(bomb.len() < 1 << 17);
    assert_eq!(fault(bomb), "TooLarge");
}

#[test]
fn the_limit_is_exact() {
    let layer = with_layer("");
    let limited = |limit: usize| {
        let mut bytes = layer.as_bytes();
        walk::walk(&mut open::Source::new(&mut bytes, limit as u64))
    };
    assert!(limited(layer.len()).is_ok());
    assert!(matches!(limited(layer.len() - 1), Err(Fault::TooLarge)));
}

#[test]
fn faults_do_not_quote_the_document() {
    for text in
        ["<qgis><S3cret></x></qgis>", "<qgis>&S3cret;</qgis>", "<qgis S3cret/>", "<S3cret/>"]
    {
        let fault = parse(text).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("S3cret"), "{fault:?}");
    }
    let zip = zip_of(&[("S3cret.qgs", b""), ("S3cret/a.qgs", b"")]);
    assert!(!format!("{:?}", parse(zip).unwrap_err()).contains("S3cret"));
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), prefix in 0..4_usize) {
        let start: &[u8] = [&b""[..], b"PK\x03\x04", b"<qgis><projectlayers>", b"<qgis a='@"][prefix];
        // No panic, whatever the answer.
        let answer = parse([start, &bytes].concat());
        prop_assert!(answer.is_err() || prefix > 1);
    }

    #[test]
    fn any_data_source(provider in "postgres|ogr", source in "(PG:|[ -~ä]|[a-z]=|'|\"|\\\\|table=|\\||%[0-9a-f]|postgres://){0,40}") {
        drop(datasource::parse(&provider, &source).postgres);
    }

    #[test]
    fn mutated_projects(
        name in prop_oneof![Just("connections"), Just("expressions"), Just("defined")],
        zipped in any::<bool>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8), 1..20),
    ) {
        let suffix = if zipped { "qgz" } else { "qgs" };
        let mut bytes = std::fs::read(fixture(&format!("{name}.{suffix}"))).unwrap();
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(bytes.len() - bytes.len() / 16)),
            }
        }
        // No panic, and no error that quotes.
        if let Err(fault) = parse(bytes) {
            let text = format!("{fault} {fault:?}");
            prop_assert!(NEVER_SHOWN.iter().all(|hidden| !text.contains(hidden)));
        }
    }
}
