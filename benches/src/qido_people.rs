//! Patients made up for searches: names as common as names are, two languages, some patients with many studies.

use filmgate_model::Random;

use crate::qido::{day, days, piece};

/// A study and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Patient {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) accession: String,
    pub(crate) date: String,
    pub(crate) time: String,
    pub(crate) modality: &'static str,
    pub(crate) description: &'static str,
    pub(crate) referring: &'static str,
}

/// The most common first.
const SURNAMES: [(&str, &str); 30] = [
    ("Wang", "王"),
    ("Li", "李"),
    ("Zhang", "张"),
    ("Liu", "刘"),
    ("Chen", "陈"),
    ("Yang", "杨"),
    ("Zhao", "赵"),
    ("Huang", "黄"),
    ("Zhou", "周"),
    ("Wu", "吴"),
    ("Xu", "徐"),
    ("Sun", "孙"),
    ("Hu", "胡"),
    ("Zhu", "朱"),
    ("Gao", "高"),
    ("Lin", "林"),
    ("He", "何"),
    ("Guo", "郭"),
    ("Ma", "马"),
    ("Luo", "罗"),
    ("Liang", "梁"),
    ("Song", "宋"),
    ("Zheng", "郑"),
    ("Xie", "谢"),
    ("Han", "韩"),
    ("Tang", "唐"),
    ("Feng", "冯"),
    ("Yu", "于"),
    ("Ouyang", "欧阳"),
    ("Sima", "司马"),
];
const GIVEN: [(&str, &str); 40] = [
    ("Wei", "伟"),
    ("Fang", "芳"),
    ("Na", "娜"),
    ("Xiu", "秀"),
    ("Ying", "英"),
    ("Min", "敏"),
    ("Jing", "静"),
    ("Li", "丽"),
    ("Qiang", "强"),
    ("Lei", "磊"),
    ("Jun", "军"),
    ("Yang", "洋"),
    ("Yong", "勇"),
    ("Yan", "艳"),
    ("Jie", "杰"),
    ("Juan", "娟"),
    ("Tao", "涛"),
    ("Ming", "明"),
    ("Chao", "超"),
    ("Lan", "兰"),
    ("Xia", "霞"),
    ("Ping", "平"),
    ("Gang", "刚"),
    ("Gui", "桂"),
    ("Xiao", "小"),
    ("Dong", "东"),
    ("Hong", "红"),
    ("Hua", "华"),
    ("Jian", "建"),
    ("Guo", "国"),
    ("Zi", "子"),
    ("Han", "涵"),
    ("Yi", "怡"),
    ("Rui", "瑞"),
    ("Xin", "欣"),
    ("Mei", "梅"),
    ("Yun", "云"),
    ("Bo", "波"),
    ("Ning", "宁"),
    ("Ze", "泽"),
];
const LATIN: [&str; 24] = [
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Martinez",
    "Anderson",
    "Müller",
    "Schmidt",
    "Schneider",
    "Fischer",
    "Weber",
    "Großmann",
    "Rossi",
    "Ferrari",
    "Dubois",
    "Lefèvre",
    "Nguyen",
    "O'Connor",
    "van der Berg",
    "Kowalski",
];
const LATIN_GIVEN: [&str; 16] = [
    "James",
    "Mary",
    "Robert",
    "Patricia",
    "John",
    "Jennifer",
    "Michael",
    "Linda",
    "Änne",
    "Jürgen",
    "Giulia",
    "Chloé",
    "Hans Peter",
    "Anna",
    "Piotr",
    "Siobhán",
];
const MODALITIES: [(&str, u64); 8] =
    [("DX", 40), ("CT", 25), ("MR", 12), ("US", 12), ("CR", 5), ("MG", 3), ("XA", 2), ("NM", 1)];
const DESCRIPTIONS: [&str; 12] = [
    "CHEST PA",
    "CT HEAD",
    "胸部平扫",
    "头颅MRI平扫",
    "CT THORAX WITH CONTRAST",
    "MR KNEE LEFT",
    "US ABDOMEN",
    "腹部彩超",
    "MAMMOGRAPHY BILATERAL",
    "颈椎正侧位",
    "CT ANGIOGRAPHY",
    "BONE SCAN",
];
const REFERRING: [&str; 6] =
    ["Gong^Ming=龚^明", "House^Gregory", "Qian^Hua=钱^华", "Weiß^Eva", "Bai^Yun=白^云", "Strange^Stephen"];

/// One study a row; a patient has a few, somebody many.
pub(crate) fn hospital(random: &Random, studies: u64) -> Vec<Patient> {
    let mut known: Vec<(String, String)> = Vec::new();
    (0..studies)
        .map(|number| {
            let again = !known.is_empty() && random.below(5) < 2;
            let (name, id) = if again {
                known[random.below(known.len() as u64) as usize].clone()
            } else {
                let new =
                    (name(random), format!("{}{:07}", pick(random, &["P", "Z", "M"]), known.len() * 7 + 13));
                known.push(new.clone());
                new
            };
            Patient {
                name,
                id,
                accession: format!("ACC{:08}", number * 3 + 1000),
                date: day(random.below(days())),
                time: format!("{:02}{:02}{:02}", random.below(24), random.below(60), random.below(60)),
                modality: modality(random),
                description: pick(random, &DESCRIPTIONS),
                referring: pick(random, &REFERRING),
            }
        })
        .collect()
}

fn pick<T: Copy>(random: &Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

/// The first are the likeliest.
fn pick_common<T: Copy>(random: &Random, from: &[T]) -> T {
    let (one, other) = (random.below(from.len() as u64), random.below(from.len() as u64));
    from[one.min(other) as usize]
}

fn modality(random: &Random) -> &'static str {
    let mut at = random.below(MODALITIES.iter().map(|(_, share)| share).sum());
    for (modality, share) in MODALITIES {
        if at < share {
            return modality;
        }
        at -= share;
    }
    "OT"
}

fn name(random: &Random) -> String {
    if random.below(4) == 0 {
        return format!("{}^{}", pick(random, &LATIN), pick(random, &LATIN_GIVEN));
    }
    let (surname, character) = pick_common(random, &SURNAMES);
    let (first, one) = pick_common(random, &GIVEN);
    if random.below(3) == 0 {
        return format!("{surname}^{first}={character}^{one}");
    }
    let (second, other) = pick(random, &GIVEN);
    format!("{surname}^{first}{}={character}^{one}{other}", second.to_lowercase())
}

impl Patient {
    fn groups(&self) -> (&str, &str) {
        self.name.split_once('=').unwrap_or((&self.name, "王^小"))
    }

    /// Three to eight letters of the surname or the given name.
    pub(crate) fn latin_piece(&self, random: &Random) -> String {
        let (latin, _) = self.groups();
        let parts: Vec<&str> = latin.split('^').collect();
        piece(pick(random, &parts), 3 + random.below(6), random).to_lowercase()
    }

    /// So many characters of the ideographic group, where it has them.
    pub(crate) fn chinese_piece(&self, random: &Random, characters: u64) -> String {
        let (_, ideographic) = self.groups();
        let given = ideographic.split('^').next_back().unwrap_or_default();
        let from = if given.chars().count() as u64 >= characters { given } else { ideographic };
        piece(from, characters, random)
    }

    /// Given name and the beginning of the surname, as somebody types them.
    pub(crate) fn words(&self) -> String {
        let (latin, _) = self.groups();
        let (surname, given) = latin.split_once('^').unwrap_or((latin, ""));
        let beginning: String = surname.chars().take(4).collect();
        format!("{given} {beginning}").to_lowercase()
    }
}
