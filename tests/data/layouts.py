"""Miniature copies of published data sets, as their archives unpack."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def picture(path: Path, width: int = 8, height: int = 8, value: int = 90) -> None:
    """An image file of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))


def mask(path: Path, width: int = 8) -> None:
    """A mask file of which the upper half is set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, width), np.uint8)
    pixels[:4] = 255
    cv2.imwrite(str(path), pixels)


def table(path: Path, header: str, rows: Sequence[Sequence[Any]], delimiter: str = ',') -> None:
    """A CSV file; no first line if `header` is ''."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header.replace(',', delimiter)] if header else []
    lines += [delimiter.join(str(cell) for cell in row) for row in rows]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def names(n: int, start: int = 0) -> list[str]:
    return [f'ISIC_{start + k:07d}' for k in range(n)]


def isic2016(root: Path) -> None:
    for part, n, labels in (('Training', 20, ('benign', 'malignant')), ('Test', 4, ('0.0', '1.0'))):
        ids = names(n, 1000 * (part == 'Test'))
        stem = f'ISBI2016_ISIC_Part3_{part}'
        rows = [[name, labels[k % 2]] for k, name in enumerate(ids)]
        table(root / f'{stem}_GroundTruth.csv', '', rows)
        for k, name in enumerate(ids):
            width = 640 if k % 2 else 8
            picture(root / f'{stem}_Data' / f'{name}.jpg', width=width)
            if k:
                folder = root / f'ISBI2016_ISIC_Part1_{part}_GroundTruth'
                mask(folder / f'{name}_Segmentation.png', width)


def isic2017(root: Path) -> None:
    sizes = {'Training': 20, 'Validation': 4, 'Test_v2': 6}
    for part, n in sizes.items():
        ids = names(n, 1000 * list(sizes).index(part))
        truth = [[name, f'{k % 3 == 0:.1f}', f'{k % 3 == 1:.1f}'] for k, name in enumerate(ids)]
        header = 'image_id,melanoma,seborrheic_keratosis'
        table(root / f'ISIC-2017_{part}_Part3_GroundTruth.csv', header, truth)
        data = root / f'ISIC-2017_{part}_Data'
        people = [[name, 55, ('male', 'unknown')[k % 2]] for k, name in enumerate(ids)]
        table(data / f'{data.name}_metadata.csv', 'image_id,age_approximate,sex', people)
        for k, name in enumerate(ids):
            width = 16 if k % 2 else 8
            picture(data / f'{name}.jpg', width=width)
            picture(data / f'{name}_superpixels.png')
            mask(root / f'ISIC-2017_{part}_Part1_GroundTruth' / f'{name}_segmentation.png', width)
    flags = [[k, f'{name}.png', *[k % 2] * 7, 0, 'benign'] for k, name in enumerate(names(15))]
    header = ',image,dark_corner,hair,gel_border,gel_bubble,ruler,ink,patches,label,label_string'
    table(root / 'isic_bias.csv', header, flags, ';')


def isic2017_prepared(root: Path, n: int = 6) -> None:
    """`labels.csv` and squares of noise: in each split `n` of each class with and without flags."""
    flags = 'dark_corner,hair,gel_border,gel_bubble,ruler,ink,patches'
    rng, rows = np.random.default_rng(0), []
    for k in range(18 * n):
        name, split = f'ISIC_{k:07d}', ('train', 'val', 'test')[k % 3]
        dx, flag = ('mel', 'nv', 'sk')[k // 3 % 3], k // 9 % 2
        file, cut = f'images/{name}.jpg', f'masks/{name}.png'
        (root / 'images').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / file), rng.integers(0, 256, (32, 32, 3)).astype(np.uint8))
        mask(root / cut)
        rows.append([name, file, split, dx, 55, 'male', 1022, cut, 'part1', *[flag] * 7, ''])
    header = f'image_id,image,split,dx,age,sex,orig_w,mask,mask_source,{flags},near_dup_group'
    table(root / 'labels.csv', header, rows)


def isic2018(root: Path) -> None:
    classes = 'MEL,NV,BCC,AKIEC,BKL,DF,VASC'
    for part, n, start in (('Training', 28, 0), ('Validation', 7, 1000), ('Test', 7, 2000)):
        ids = names(n, start)
        stem = f'ISIC2018_Task3_{part}'
        rows = [[name, *(f'{k % 7 == c:.1f}' for c in range(7))] for k, name in enumerate(ids)]
        folder = root / f'{stem}_GroundTruth'
        table(folder / f'{stem}_GroundTruth.csv', f'image,{classes}', rows)
        for name in ids:
            picture(root / f'{stem}_Input' / f'{name}.jpg')
    rows = [[name, f'HAM_{k // 2}', 'histopathology'] for k, name in enumerate(names(28))]
    header = 'image,lesion_id,diagnosis_confirm_type'
    table(root / 'ISIC2018_Task3_Training_LesionGroupings.csv', header, rows)


def isic2018_shapes(root: Path) -> None:
    """Tasks 1 and 2."""
    for name in names(20):
        picture(root / 'ISIC2018_Task1-2_Training_Input' / f'{name}.jpg')
        mask(root / 'ISIC2018_Task1_Training_GroundTruth' / f'{name}_segmentation.png')
        attributes = root / 'ISIC2018_Task2_Training_GroundTruth_v3'
        mask(attributes / f'{name}_attribute_milia_like_cyst.png')
    (root / 'ISIC2018_Task1-2_Training_Input' / 'LICENSE.txt').write_text('CC')


def isic2019(root: Path) -> None:
    classes = 'MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK'
    ids = [f'{name}_downsampled' if k % 2 else name for k, name in enumerate(names(24))]
    rows = [[name, *(f'{k % 8 == c:.1f}' for c in range(9))] for k, name in enumerate(ids)]
    table(root / 'ISIC_2019_Training_GroundTruth.csv', f'image,{classes}', rows)
    lesions = ['' if k < 4 else f'BCN_{k // 2}' for k in range(24)]
    rows = [
        [n, 55, 'head/neck', g, ('female', '')[k % 2]]
        for k, (n, g) in enumerate(zip(ids, lesions, strict=True))
    ]
    header = 'image,age_approx,anatom_site_general,lesion_id,sex'
    table(root / 'ISIC_2019_Training_Metadata.csv', header, rows)
    for name in ids:
        # Kaggle's copy has one folder inside another.
        folder = root / 'ISIC_2019_Training_Input' / 'ISIC_2019_Training_Input'
        picture(folder / f'{name}.jpg', width=1024 if name.endswith('downsampled') else 8)


def isic2019_test(root: Path) -> None:
    """With the test files."""
    isic2019(root)
    ids = names(9, 1000)
    rows = [[n, *(f'{k == c:.1f}' for c in range(9)), 1, 0] for k, n in enumerate(ids)]
    header = 'image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK,score_weight,validation_weight'
    table(root / 'ISIC_2019_Test_GroundTruth.csv', header, rows)
    rows = [[name, '', '', 'male'] for name in ids]
    table(root / 'ISIC_2019_Test_Metadata.csv', 'image,age_approx,anatom_site_general,sex', rows)
    for name in ids:
        picture(root / 'ISIC_2019_Test_Input' / f'{name}.jpg')


def isic2020(root: Path) -> None:
    ids = names(30)
    rows = [
        [name, f'IP_{k // 2}', f'IL_{k}', ('male', '')[k % 2], 45.0, 'torso', 'unknown', 'x', k % 2]
        for k, name in enumerate(ids)
    ]
    header = (
        'image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,'
        'benign_malignant,target'
    )
    table(root / 'ISIC_2020_Training_GroundTruth_v2.csv', header, rows)
    pairs = [[ids[0], ids[29]], [ids[2], ids[28]]]
    table(root / 'ISIC_2020_Training_Duplicates.csv', 'image_name_1,image_name_2', pairs)
    for name in ids:
        picture(root / 'train' / f'{name}.jpg')


def ham10000(root: Path, n: int = 28) -> None:
    kinds = ('akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc')
    ids = names(n)
    rows = [
        [
            f'HAM_{k // 2}',
            n,
            kinds[k // 2 % 7],
            'histo',
            80.0,
            ('male', 'female', 'unknown')[k % 3],
            'scalp',
        ]
        for k, n in enumerate(ids)
    ]
    header = 'lesion_id,image_id,dx,dx_type,age,sex,localization'
    table(root / 'HAM10000_metadata.tab', header, rows, '\t')
    for k, name in enumerate(ids):
        picture(root / f'HAM10000_images_part_{1 + (k >= n // 2)}' / f'{name}.jpg')
        mask(root / 'HAM10000_segmentations_lesion_tschandl' / f'{name}_segmentation.png')


def ph2(root: Path) -> None:
    lines = [
        '||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Network | '
        'Dots/Globules | Streaks | Regression Areas | Blue-Whitish Veil ||           Colors ||'
    ]
    for k in range(12):
        lines.append(
            f'|| IMD{k:03d} ||              ||     {k % 3} || 0 | T | A | A | A | A || 3  4 ||'
        )
        folder = root / 'PH2Dataset' / 'PH2 Dataset images' / f'IMD{k:03d}'
        picture(folder / f'IMD{k:03d}_Dermoscopic_Image' / f'IMD{k:03d}.bmp')
        mask(folder / f'IMD{k:03d}_lesion' / f'IMD{k:03d}_lesion.bmp')
        mask(folder / f'IMD{k:03d}_roi' / f'IMD{k:03d}_R1_Label3.bmp')
    lines += ['', 'Legends:', 'Clinical Diagnosis: 0 - Common Nevus; 1 - Atypical Nevus']
    (root / 'PH2Dataset' / 'PH2_dataset.txt').write_text('\n'.join(lines))


def derm7pt(root: Path) -> None:
    kinds = ('basal cell carcinoma', 'clark nevus', 'melanoma (in situ)', 'lentigo', 'melanoma')
    rows = []
    for k in range(10):
        files = f'NEL/Nel{k:03d}.jpg', f'NEL/NEL{k + 50:03d}.JPG'
        rows.append([k + 1, kinds[k % 5], 'medium', 'flat', 'abdomen', 'female', *files])
        picture(root / 'release_v0' / 'images' / files[0], value=200)
        picture(root / 'release_v0' / 'images' / files[1], value=10)
    header = 'case_num,diagnosis,level_of_diagnostic_difficulty,elevation,location,sex,clinic,derm'
    meta = root / 'release_v0' / 'meta'
    table(meta / 'meta.csv', header, rows)
    for name, of in (('train', range(5)), ('valid', (5, 6)), ('test', (7, 8, 9))):
        table(meta / f'{name}_indexes.csv', 'indexes', [[k] for k in of])


def fitzpatrick17k(root: Path) -> None:
    kinds = ('malignant melanoma', 'inflammatory', 'benign dermal')
    rows = []
    for k in range(24):
        name = f'{k:032x}'
        rows.append(
            [name, (-1, 1, 6)[k % 3], 3, 'acne', kinds[k // 3 % 3], 'x', '', 'https://a/b.jpg']
        )
        picture(root / 'images' / f'{name}.jpg')
    header = (
        'md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,'
        'three_partition_label,qc,url'
    )
    table(root / 'fitzpatrick17k.csv', header, rows)


def asan(root: Path) -> None:
    for kind in ('malignantmelanoma', 'pigmentednevus', 'lentigo'):
        for k in range(2):
            picture(root / 'asan-test' / 'biopsy' / kind / f'{kind}2_{k}.JPG')


def asan_table(root: Path) -> None:
    """With the table of the unlearning study."""
    asan(root)
    rows = [
        ['malignantmelanoma2_0.JPG', 'melanoma', 1, 0],
        ['pigmentednevus2_0.JPG', 'nevus', 0, 1],
    ]
    table(root / 'asan.csv', 'image_name,diagnosis,target,marked', rows)


def mclass(root: Path) -> None:
    for k in range(3):
        picture(root / 'BenchmarkDermoscopic' / 'benign' / f'ISIC_{k}.jpg', value=10)
        picture(root / 'BenchmarkClinical' / 'benign' / f'{k}.jpg', value=200)
    picture(root / 'BenchmarkDermoscopic' / 'malign' / 'ISIC_9.jpg', value=10)
    picture(root / 'BenchmarkClinical' / 'malignant' / '0.jpg', value=200)


def pad_ufes_20(root: Path) -> None:
    kinds = ('ACK', 'BCC', 'MEL', 'NEV', 'SCC', 'SEK')
    rows = []
    for k in range(36):
        name = f'PAT_{k // 2}_{k}_{k}.png'
        skin = '' if k % 3 == 0 else f'{1 + k % 6}.0'
        rows.append([f'PAT_{k // 2}', k, skin, ('FEMALE', '')[k % 2], 'FACE', kinds[k % 6], name])
        picture(root / 'images' / f'imgs_part_{1 + k % 3}' / name)
    header = 'patient_id,lesion_id,fitspatrick,gender,region,diagnostic,img_id'
    table(root / 'metadata.csv', header, rows)


def ddi(root: Path) -> None:
    rows = []
    for k in range(6):
        disease = ('melanoma-in-situ', 'basal-cell-carcinoma', 'melanocytic-nevi')[k % 3]
        malignant = ('True', 'False')[k % 3 == 2]
        rows.append([k, k + 1, f'{k + 1:06d}.png', (12, 34, 56)[k % 3], malignant, disease])
        picture(root / f'{k + 1:06d}.png')
    table(root / 'ddi_metadata.csv', ',DDI_ID,DDI_file,skin_tone,malignant,disease', rows)


def kaggle9(root: Path) -> None:
    from skinjax.data.kaggle9 import CLASSES

    top = root / 'Skin cancer ISIC The International Skin Imaging Collaboration'
    for c, kind in enumerate(CLASSES):
        for k in range(3):
            picture(top / 'Train' / kind / f'ISIC_{10 * c + k:07d}.jpg')
        picture(top / 'Test' / kind / f'ISIC_{10 * c + 9:07d}.jpg')
    picture(top / 'Train' / 'nevus' / 'ISIC_0000009.jpg')  # a test image
