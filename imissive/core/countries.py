"""Countries' names, in the languages of the pages.

They are those of the Unicode CLDR, some shortened for tables, for every region with phone numbers.
They are a table here, because the names in phonenumbers need a hundred megabytes.
"""

import re
from functools import cache

import phonenumbers
from django.utils.translation import get_language


def name_of(country: str) -> str:
    """Return a country's name in the language of the page by its ISO 3166 code, or the code."""
    names = _NAMES.get(country)
    return names[(get_language() or "").startswith("ar")] if names else country


def country_choices() -> list[tuple[str, str]]:
    """Return every country as (code, name), sorted by name in the language of the page."""
    return sorted(((code, name_of(code)) for code in _NAMES), key=lambda pair: pair[1])


def home_choices() -> list[tuple[str, str]]:
    """Return every country that has a calling code, as (code, name with the calling code)."""
    calling_code = phonenumbers.country_code_for_region
    return [
        (code, f"{name} (+{calling_code(code)})")
        for code, name in country_choices()
        if calling_code(code)
    ]


def country_of_code(calling_code: str) -> str:
    """Return the main country of a calling code such as `966`, or ""."""
    return _regions().get(calling_code, ("",))[0] if calling_code else ""


def countries_of(prefix: str) -> tuple[str, ...]:
    """Return the countries that numbers with a prefix (digits of E.164) may belong to.

    For a shared calling code, it returns all of them, the main one first; none if the prefix is too
    short.
    """
    for length in range(1, min(len(prefix), 3) + 1):
        regions = _regions().get(prefix[:length])
        if regions is not None:
            return _narrowed(regions, prefix[length:]) or regions
    return ()


def _narrowed(regions: tuple[str, ...], national: str) -> tuple[str, ...]:
    """Return the countries of a shared code whose numbers start with that prefix, like 1 242."""
    found = []
    for region in regions[1:] if national else ():
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        digits = metadata.leading_digits if metadata else None
        if digits and re.match(digits, national):
            found.append(region)
    return tuple(found)


@cache
def _regions() -> dict[str, tuple[str, ...]]:
    """Return the countries of each calling code."""
    return {
        str(code): tuple(region for region in regions if region != "001")
        for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
    }


_NAMES: dict[str, tuple[str, str]] = {
    "AC": ("Ascension Island", "جزيرة أسينشيون"),
    "AD": ("Andorra", "أندورا"),
    "AE": ("United Arab Emirates", "الإمارات"),
    "AF": ("Afghanistan", "أفغانستان"),
    "AG": ("Antigua & Barbuda", "أنتيغوا وبربودا"),
    "AI": ("Anguilla", "أنغويلا"),
    "AL": ("Albania", "ألبانيا"),
    "AM": ("Armenia", "أرمينيا"),
    "AO": ("Angola", "أنغولا"),
    "AR": ("Argentina", "الأرجنتين"),
    "AS": ("American Samoa", "ساموا الأمريكية"),
    "AT": ("Austria", "النمسا"),
    "AU": ("Australia", "أستراليا"),
    "AW": ("Aruba", "أروبا"),
    "AX": ("Åland Islands", "جزر آلاند"),
    "AZ": ("Azerbaijan", "أذربيجان"),
    "BA": ("Bosnia & Herzegovina", "البوسنة والهرسك"),
    "BB": ("Barbados", "بربادوس"),
    "BD": ("Bangladesh", "بنغلاديش"),
    "BE": ("Belgium", "بلجيكا"),
    "BF": ("Burkina Faso", "بوركينا فاسو"),
    "BG": ("Bulgaria", "بلغاريا"),
    "BH": ("Bahrain", "البحرين"),
    "BI": ("Burundi", "بوروندي"),
    "BJ": ("Benin", "بنين"),
    "BL": ("St. Barthélemy", "سان بارتليمي"),
    "BM": ("Bermuda", "برمودا"),
    "BN": ("Brunei", "بروناي"),
    "BO": ("Bolivia", "بوليفيا"),
    "BQ": ("Caribbean Netherlands", "هولندا الكاريبية"),
    "BR": ("Brazil", "البرازيل"),
    "BS": ("Bahamas", "جزر البهاما"),
    "BT": ("Bhutan", "بوتان"),
    "BW": ("Botswana", "بوتسوانا"),
    "BY": ("Belarus", "بيلاروس"),
    "BZ": ("Belize", "بليز"),
    "CA": ("Canada", "كندا"),
    "CC": ("Cocos (Keeling) Islands", "جزر كوكوس (كيلينغ)"),
    "CD": ("Congo - Kinshasa", "الكونغو - كينشاسا"),
    "CF": ("Central African Republic", "جمهورية أفريقيا الوسطى"),
    "CG": ("Congo - Brazzaville", "الكونغو - برازافيل"),
    "CH": ("Switzerland", "سويسرا"),
    "CI": ("Côte d’Ivoire", "ساحل العاج"),
    "CK": ("Cook Islands", "جزر كوك"),
    "CL": ("Chile", "تشيلي"),
    "CM": ("Cameroon", "الكاميرون"),
    "CN": ("China", "الصين"),
    "CO": ("Colombia", "كولومبيا"),
    "CR": ("Costa Rica", "كوستاريكا"),
    "CU": ("Cuba", "كوبا"),
    "CV": ("Cape Verde", "الرأس الأخضر"),
    "CW": ("Curaçao", "كوراساو"),
    "CX": ("Christmas Island", "جزيرة كريسماس"),
    "CY": ("Cyprus", "قبرص"),
    "CZ": ("Czechia", "التشيك"),
    "DE": ("Germany", "ألمانيا"),
    "DJ": ("Djibouti", "جيبوتي"),
    "DK": ("Denmark", "الدانمرك"),
    "DM": ("Dominica", "دومينيكا"),
    "DO": ("Dominican Republic", "جمهورية الدومينيكان"),
    "DZ": ("Algeria", "الجزائر"),
    "EC": ("Ecuador", "الإكوادور"),
    "EE": ("Estonia", "إستونيا"),
    "EG": ("Egypt", "مصر"),
    "EH": ("Western Sahara", "الصحراء الغربية"),
    "ER": ("Eritrea", "إريتريا"),
    "ES": ("Spain", "إسبانيا"),
    "ET": ("Ethiopia", "إثيوبيا"),
    "FI": ("Finland", "فنلندا"),
    "FJ": ("Fiji", "فيجي"),
    "FK": ("Falkland Islands", "جزر فوكلاند"),
    "FM": ("Micronesia", "ميكرونيزيا"),
    "FO": ("Faroe Islands", "جزر فارو"),
    "FR": ("France", "فرنسا"),
    "GA": ("Gabon", "الغابون"),
    "GB": ("United Kingdom", "المملكة المتحدة"),
    "GD": ("Grenada", "غرينادا"),
    "GE": ("Georgia", "جورجيا"),
    "GF": ("French Guiana", "غويانا الفرنسية"),
    "GG": ("Guernsey", "غيرنزي"),
    "GH": ("Ghana", "غانا"),
    "GI": ("Gibraltar", "جبل طارق"),
    "GL": ("Greenland", "غرينلاند"),
    "GM": ("Gambia", "غامبيا"),
    "GN": ("Guinea", "غينيا"),
    "GP": ("Guadeloupe", "غوادلوب"),
    "GQ": ("Equatorial Guinea", "غينيا الاستوائية"),
    "GR": ("Greece", "اليونان"),
    "GT": ("Guatemala", "غواتيمالا"),
    "GU": ("Guam", "غوام"),
    "GW": ("Guinea-Bissau", "غينيا بيساو"),
    "GY": ("Guyana", "غيانا"),
    "HK": ("Hong Kong", "هونغ كونغ"),
    "HN": ("Honduras", "هندوراس"),
    "HR": ("Croatia", "كرواتيا"),
    "HT": ("Haiti", "هايتي"),
    "HU": ("Hungary", "هنغاريا"),
    "ID": ("Indonesia", "إندونيسيا"),
    "IE": ("Ireland", "أيرلندا"),
    "IL": ("Israel", "إسرائيل"),
    "IM": ("Isle of Man", "جزيرة مان"),
    "IN": ("India", "الهند"),
    "IO": ("British Indian Ocean Territory", "الإقليم البريطاني في المحيط الهندي"),
    "IQ": ("Iraq", "العراق"),
    "IR": ("Iran", "إيران"),
    "IS": ("Iceland", "آيسلندا"),
    "IT": ("Italy", "إيطاليا"),
    "JE": ("Jersey", "جيرسي"),
    "JM": ("Jamaica", "جامايكا"),
    "JO": ("Jordan", "الأردن"),
    "JP": ("Japan", "اليابان"),
    "KE": ("Kenya", "كينيا"),
    "KG": ("Kyrgyzstan", "قيرغيزستان"),
    "KH": ("Cambodia", "كمبوديا"),
    "KI": ("Kiribati", "كيريباتي"),
    "KM": ("Comoros", "جزر القمر"),
    "KN": ("St. Kitts & Nevis", "سانت كيتس ونيفيس"),
    "KP": ("North Korea", "كوريا الشمالية"),
    "KR": ("South Korea", "كوريا الجنوبية"),
    "KW": ("Kuwait", "الكويت"),
    "KY": ("Cayman Islands", "جزر كايمان"),
    "KZ": ("Kazakhstan", "كازاخستان"),
    "LA": ("Laos", "لاوس"),
    "LB": ("Lebanon", "لبنان"),
    "LC": ("St. Lucia", "سانت لوسيا"),
    "LI": ("Liechtenstein", "ليختنشتاين"),
    "LK": ("Sri Lanka", "سريلانكا"),
    "LR": ("Liberia", "ليبيريا"),
    "LS": ("Lesotho", "ليسوتو"),
    "LT": ("Lithuania", "ليتوانيا"),
    "LU": ("Luxembourg", "لوكسمبورغ"),
    "LV": ("Latvia", "لاتفيا"),
    "LY": ("Libya", "ليبيا"),
    "MA": ("Morocco", "المغرب"),
    "MC": ("Monaco", "موناكو"),
    "MD": ("Moldova", "مولدوفا"),
    "ME": ("Montenegro", "الجبل الأسود"),
    "MF": ("St. Martin", "سان مارتن"),
    "MG": ("Madagascar", "مدغشقر"),
    "MH": ("Marshall Islands", "جزر مارشال"),
    "MK": ("North Macedonia", "مقدونيا الشمالية"),
    "ML": ("Mali", "مالي"),
    "MM": ("Myanmar", "ميانمار"),
    "MN": ("Mongolia", "منغوليا"),
    "MO": ("Macao", "ماكاو"),
    "MP": ("Northern Mariana Islands", "جزر ماريانا الشمالية"),
    "MQ": ("Martinique", "جزر المارتينيك"),
    "MR": ("Mauritania", "موريتانيا"),
    "MS": ("Montserrat", "مونتسرات"),
    "MT": ("Malta", "مالطا"),
    "MU": ("Mauritius", "موريشيوس"),
    "MV": ("Maldives", "جزر المالديف"),
    "MW": ("Malawi", "ملاوي"),
    "MX": ("Mexico", "المكسيك"),
    "MY": ("Malaysia", "ماليزيا"),
    "MZ": ("Mozambique", "موزمبيق"),
    "NA": ("Namibia", "ناميبيا"),
    "NC": ("New Caledonia", "كاليدونيا الجديدة"),
    "NE": ("Niger", "النيجر"),
    "NF": ("Norfolk Island", "جزيرة نورفولك"),
    "NG": ("Nigeria", "نيجيريا"),
    "NI": ("Nicaragua", "نيكاراغوا"),
    "NL": ("Netherlands", "هولندا"),
    "NO": ("Norway", "النرويج"),
    "NP": ("Nepal", "نيبال"),
    "NR": ("Nauru", "ناورو"),
    "NU": ("Niue", "نيوي"),
    "NZ": ("New Zealand", "نيوزيلندا"),
    "OM": ("Oman", "عُمان"),
    "PA": ("Panama", "بنما"),
    "PE": ("Peru", "بيرو"),
    "PF": ("French Polynesia", "بولينيزيا الفرنسية"),
    "PG": ("Papua New Guinea", "بابوا غينيا الجديدة"),
    "PH": ("Philippines", "الفلبين"),
    "PK": ("Pakistan", "باكستان"),
    "PL": ("Poland", "بولندا"),
    "PM": ("St. Pierre & Miquelon", "سان بيير ومكويلون"),
    "PR": ("Puerto Rico", "بورتوريكو"),
    "PS": ("Palestine", "فلسطين"),
    "PT": ("Portugal", "البرتغال"),
    "PW": ("Palau", "بالاو"),
    "PY": ("Paraguay", "باراغواي"),
    "QA": ("Qatar", "قطر"),
    "RE": ("Réunion", "روينيون"),
    "RO": ("Romania", "رومانيا"),
    "RS": ("Serbia", "صربيا"),
    "RU": ("Russia", "روسيا"),
    "RW": ("Rwanda", "رواندا"),
    "SA": ("Saudi Arabia", "السعودية"),
    "SB": ("Solomon Islands", "جزر سليمان"),
    "SC": ("Seychelles", "سيشل"),
    "SD": ("Sudan", "السودان"),
    "SE": ("Sweden", "السويد"),
    "SG": ("Singapore", "سنغافورة"),
    "SH": ("St. Helena, Ascension & Tristan da Cunha", "سانت هيلينا"),
    "SI": ("Slovenia", "سلوفينيا"),
    "SJ": ("Svalbard & Jan Mayen", "سفالبارد وجان ماين"),
    "SK": ("Slovakia", "سلوفاكيا"),
    "SL": ("Sierra Leone", "سيراليون"),
    "SM": ("San Marino", "سان مارينو"),
    "SN": ("Senegal", "السنغال"),
    "SO": ("Somalia", "الصومال"),
    "SR": ("Suriname", "سورينام"),
    "SS": ("South Sudan", "جنوب السودان"),
    "ST": ("São Tomé & Príncipe", "ساو تومي وبرينسيبي"),
    "SV": ("El Salvador", "السلفادور"),
    "SX": ("Sint Maarten", "سانت مارتن"),
    "SY": ("Syria", "سوريا"),
    "SZ": ("Eswatini", "إسواتيني"),
    "TA": ("Tristan da Cunha", "تريستان دا كونا"),
    "TC": ("Turks & Caicos Islands", "جزر توركس وكايكوس"),
    "TD": ("Chad", "تشاد"),
    "TG": ("Togo", "توغو"),
    "TH": ("Thailand", "تايلاند"),
    "TJ": ("Tajikistan", "طاجيكستان"),
    "TK": ("Tokelau", "توكيلاو"),
    "TL": ("Timor-Leste", "تيمور - ليشتي"),
    "TM": ("Turkmenistan", "تركمانستان"),
    "TN": ("Tunisia", "تونس"),
    "TO": ("Tonga", "تونغا"),
    "TR": ("Türkiye", "تركيا"),
    "TT": ("Trinidad & Tobago", "ترينيداد وتوباغو"),
    "TV": ("Tuvalu", "توفالو"),
    "TW": ("Taiwan", "تايوان"),
    "TZ": ("Tanzania", "تنزانيا"),
    "UA": ("Ukraine", "أوكرانيا"),
    "UG": ("Uganda", "أوغندا"),
    "US": ("United States", "الولايات المتحدة"),
    "UY": ("Uruguay", "أورغواي"),
    "UZ": ("Uzbekistan", "أوزبكستان"),
    "VA": ("Vatican City", "الفاتيكان"),
    "VC": ("St. Vincent & Grenadines", "سانت فنسنت وجزر غرينادين"),
    "VE": ("Venezuela", "فنزويلا"),
    "VG": ("British Virgin Islands", "جزر فيرجن البريطانية"),
    "VI": ("U.S. Virgin Islands", "جزر فيرجن الأمريكية"),
    "VN": ("Vietnam", "فيتنام"),
    "VU": ("Vanuatu", "فانواتو"),
    "WF": ("Wallis & Futuna", "جزر والس وفوتونا"),
    "WS": ("Samoa", "ساموا"),
    "XK": ("Kosovo", "كوسوفو"),
    "YE": ("Yemen", "اليمن"),
    "YT": ("Mayotte", "مايوت"),
    "ZA": ("South Africa", "جنوب أفريقيا"),
    "ZM": ("Zambia", "زامبيا"),
    "ZW": ("Zimbabwe", "زيمبابوي"),
}
