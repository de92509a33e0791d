"""The codes of MTP as integer enumerations: names are the standard's terms.

This is a table and nothing else. A code that is missing here stays a plain integer
everywhere (devices are free to invent some). So convert codes only where needed.

Invariant: one member per code and kind.
"""

from __future__ import annotations

from enum import IntEnum


class Operation(IntEnum):
    """Operations (MTP 1.1 annex D; 0x95Cx are the Android extensions)."""

    Undefined = 0x1000
    GetDeviceInfo = 0x1001
    OpenSession = 0x1002
    CloseSession = 0x1003
    GetStorageIDs = 0x1004
    GetStorageInfo = 0x1005
    GetNumObjects = 0x1006
    GetObjectHandles = 0x1007
    GetObjectInfo = 0x1008
    GetObject = 0x1009
    GetThumb = 0x100A
    DeleteObject = 0x100B
    SendObjectInfo = 0x100C
    SendObject = 0x100D
    InitiateCapture = 0x100E
    FormatStore = 0x100F
    ResetDevice = 0x1010
    SelfTest = 0x1011
    SetObjectProtection = 0x1012
    PowerDown = 0x1013
    GetDevicePropDesc = 0x1014
    GetDevicePropValue = 0x1015
    SetDevicePropValue = 0x1016
    ResetDevicePropValue = 0x1017
    TerminateOpenCapture = 0x1018
    MoveObject = 0x1019
    CopyObject = 0x101A
    GetPartialObject = 0x101B
    InitiateOpenCapture = 0x101C
    StartEnumHandles = 0x101D
    EnumHandles = 0x101E
    StopEnumHandles = 0x101F
    GetVendorExtensionMaps = 0x1020
    GetVendorDeviceInfo = 0x1021
    GetResizedImageObject = 0x1022
    GetFilesystemManifest = 0x1023
    GetStreamInfo = 0x1024
    GetStream = 0x1025
    WMDRMPD_GetSecureTimeChallenge = 0x9101
    WMDRMPD_GetSecureTimeResponse = 0x9102
    WMDRMPD_SetLicenseResponse = 0x9103
    WMDRMPD_GetSyncList = 0x9104
    WMDRMPD_SendMeterChallengeQuery = 0x9105
    WMDRMPD_GetMeterChallenge = 0x9106
    WMDRMPD_SetMeterResponse = 0x9107
    WMDRMPD_CleanDataStore = 0x9108
    WMDRMPD_GetLicenseState = 0x9109
    WMDRMPD_SendWMDRMPDCommand = 0x910A
    WMDRMPD_SendWMDRMPDRequest = 0x910B
    WPDWCN_ProcessWFCObject = 0x9122
    AAVT_OpenMediaSession = 0x9170
    AAVT_CloseMediaSession = 0x9171
    AAVT_GetNextDataBlock = 0x9172
    AAVT_SetCurrentTimePosition = 0x9173
    WMDRMND_SendRegistrationRequest = 0x9180
    WMDRMND_GetRegistrationResponse = 0x9181
    WMDRMND_GetProximityChallenge = 0x9182
    WMDRMND_SendProximityResponse = 0x9183
    WMDRMND_SendWMDRMNDLicenseRequest = 0x9184
    WMDRMND_GetWMDRMNDLicenseResponse = 0x9185
    WMPPD_ReportAddedDeletedItems = 0x9201
    WMPPD_ReportAcquiredItems = 0x9202
    WMPPD_PlaylistObjectPref = 0x9203
    ZUNE_GETUNDEFINED001 = 0x9204
    WMDRMPD_SendWMDRMPDAppRequest = 0x9212
    WMDRMPD_GetWMDRMPDAppResponse = 0x9213
    WMDRMPD_EnableTrustedFilesOperations = 0x9214
    WMDRMPD_DisableTrustedFilesOperations = 0x9215
    WMDRMPD_EndTrustedAppSession = 0x9216
    GetPartialObject64 = 0x95C1
    SendPartialObject = 0x95C2
    TruncateObject = 0x95C3
    BeginEditObject = 0x95C4
    EndEditObject = 0x95C5
    GetObjectPropsSupported = 0x9801
    GetObjectPropDesc = 0x9802
    GetObjectPropValue = 0x9803
    SetObjectPropValue = 0x9804
    GetObjectPropList = 0x9805
    SetObjectPropList = 0x9806
    GetInterdependentPropDesc = 0x9807
    SendObjectPropList = 0x9808
    GetObjectReferences = 0x9810
    SetObjectReferences = 0x9811
    UpdateDeviceFirmware = 0x9812
    Skip = 0x9820


class Response(IntEnum):
    """Response codes (MTP 1.1 annex F)."""

    Undefined = 0x2000
    OK = 0x2001
    GeneralError = 0x2002
    SessionNotOpen = 0x2003
    InvalidTransactionID = 0x2004
    OperationNotSupported = 0x2005
    ParameterNotSupported = 0x2006
    IncompleteTransfer = 0x2007
    InvalidStorageID = 0x2008
    InvalidObjectHandle = 0x2009
    DevicePropNotSupported = 0x200A
    InvalidObjectFormatCode = 0x200B
    StoreFull = 0x200C
    ObjectWriteProtected = 0x200D
    StoreReadOnly = 0x200E
    AccessDenied = 0x200F
    NoThumbnailPresent = 0x2010
    SelfTestFailed = 0x2011
    PartialDeletion = 0x2012
    StoreNotAvailable = 0x2013
    SpecificationByFormatUnsupported = 0x2014
    NoValidObjectInfo = 0x2015
    InvalidCodeFormat = 0x2016
    UnknownVendorCode = 0x2017
    CaptureAlreadyTerminated = 0x2018
    DeviceBusy = 0x2019
    InvalidParentObject = 0x201A
    InvalidDevicePropFormat = 0x201B
    InvalidDevicePropValue = 0x201C
    InvalidParameter = 0x201D
    SessionAlreadyOpen = 0x201E
    TransactionCancelled = 0x201F
    SpecificationOfDestinationUnsupported = 0x2020
    InvalidEnumHandle = 0x2021
    NoStreamEnabled = 0x2022
    InvalidDataSetPTP = 0x2023
    InvalidWFCSyntax = 0xA121
    WFCVersionNotSupported = 0xA122
    InvalidMediaSessionID = 0xA170
    MediaSessionLimitReached = 0xA171
    NoMoreData = 0xA172
    MTPUndefined = 0xA800
    InvalidObjectPropCode = 0xA801
    InvalidObjectPropFormat = 0xA802
    InvalidObjectPropValue = 0xA803
    InvalidObjectReference = 0xA804
    InvalidDataset = 0xA806
    SpecificationByGroupUnsupported = 0xA807
    SpecificationByDepthUnsupported = 0xA808
    ObjectTooLarge = 0xA809
    ObjectPropNotSupported = 0xA80A
    GroupNotSupported = 0xA805


class Event(IntEnum):
    """Event codes (MTP 1.1 annex G)."""

    Undefined = 0x4000
    CancelTransaction = 0x4001
    ObjectAdded = 0x4002
    ObjectRemoved = 0x4003
    StoreAdded = 0x4004
    StoreRemoved = 0x4005
    DevicePropChanged = 0x4006
    ObjectInfoChanged = 0x4007
    DeviceInfoChanged = 0x4008
    RequestObjectTransfer = 0x4009
    StoreFull = 0x400A
    DeviceReset = 0x400B
    StorageInfoChanged = 0x400C
    CaptureComplete = 0x400D
    UnreportedStatus = 0x400E
    ObjectPropChanged = 0xC801
    ObjectPropDescChanged = 0xC802
    ObjectReferencesChanged = 0xC803


class Format(IntEnum):
    """Object formats (MTP 1.1 annex A). Association is the only kind of folder."""

    Undefined = 0x3000
    Association = 0x3001
    Script = 0x3002
    Executable = 0x3003
    Text = 0x3004
    HTML = 0x3005
    DPOF = 0x3006
    AIFF = 0x3007
    WAV = 0x3008
    MP3 = 0x3009
    AVI = 0x300A
    MPEG = 0x300B
    ASF = 0x300C
    QT = 0x300D
    Defined = 0x3800
    EXIF_JPEG = 0x3801
    TIFF_EP = 0x3802
    FlashPix = 0x3803
    BMP = 0x3804
    CIFF = 0x3805
    Undefined_0x3806 = 0x3806
    GIF = 0x3807
    JFIF = 0x3808
    PCD = 0x3809
    PICT = 0x380A
    PNG = 0x380B
    Undefined_0x380C = 0x380C
    TIFF = 0x380D
    TIFF_IT = 0x380E
    JP2 = 0x380F
    JPX = 0x3810
    DNG = 0x3811
    MediaCard = 0xB211
    MediaCardGroup = 0xB212
    Encounter = 0xB213
    EncounterBox = 0xB214
    M4A = 0xB215
    ZUNEUNDEFINED = 0xB217
    Firmware = 0xB802
    WindowsImageFormat = 0xB881
    UndefinedAudio = 0xB900
    WMA = 0xB901
    OGG = 0xB902
    AAC = 0xB903
    AudibleCodec = 0xB904
    FLAC = 0xB906
    SamsungPlaylist = 0xB909
    UndefinedVideo = 0xB980
    WMV = 0xB981
    MP4 = 0xB982
    MP2 = 0xB983
    F3GP = 0xB984
    UndefinedCollection = 0xBA00
    AbstractMultimediaAlbum = 0xBA01
    AbstractImageAlbum = 0xBA02
    AbstractAudioAlbum = 0xBA03
    AbstractVideoAlbum = 0xBA04
    AbstractAudioVideoPlaylist = 0xBA05
    AbstractContactGroup = 0xBA06
    AbstractMessageFolder = 0xBA07
    AbstractChapteredProduction = 0xBA08
    AbstractAudioPlaylist = 0xBA09
    AbstractVideoPlaylist = 0xBA0A
    AbstractMediacast = 0xBA0B
    WPLPlaylist = 0xBA10
    M3UPlaylist = 0xBA11
    MPLPlaylist = 0xBA12
    ASXPlaylist = 0xBA13
    PLSPlaylist = 0xBA14
    UndefinedDocument = 0xBA80
    AbstractDocument = 0xBA81
    XMLDocument = 0xBA82
    MSWordDocument = 0xBA83
    MHTCompiledHTMLDocument = 0xBA84
    MSExcelSpreadsheetXLS = 0xBA85
    MSPowerpointPresentationPPT = 0xBA86
    UndefinedMessage = 0xBB00
    AbstractMessage = 0xBB01
    UndefinedContact = 0xBB80
    AbstractContact = 0xBB81
    vCard2 = 0xBB82
    vCard3 = 0xBB83
    UndefinedCalendarItem = 0xBE00
    AbstractCalendarItem = 0xBE01
    vCalendar1 = 0xBE02
    vCalendar2 = 0xBE03
    UndefinedWindowsExecutable = 0xBE80
    MediaCast = 0xBE81
    Section = 0xBE82
    HEIF = 0x3812


class Property(IntEnum):
    """Object properties (MTP 1.1 annex B)."""

    StorageID = 0xDC01
    ObjectFormat = 0xDC02
    ProtectionStatus = 0xDC03
    ObjectSize = 0xDC04
    AssociationType = 0xDC05
    AssociationDesc = 0xDC06
    ObjectFileName = 0xDC07
    DateCreated = 0xDC08
    DateModified = 0xDC09
    Keywords = 0xDC0A
    ParentObject = 0xDC0B
    AllowedFolderContents = 0xDC0C
    Hidden = 0xDC0D
    SystemObject = 0xDC0E
    PersistantUniqueObjectIdentifier = 0xDC41
    SyncID = 0xDC42
    PropertyBag = 0xDC43
    Name = 0xDC44
    CreatedBy = 0xDC45
    Artist = 0xDC46
    DateAuthored = 0xDC47
    Description = 0xDC48
    URLReference = 0xDC49
    LanguageLocale = 0xDC4A
    CopyrightInformation = 0xDC4B
    Source = 0xDC4C
    OriginLocation = 0xDC4D
    DateAdded = 0xDC4E
    NonConsumable = 0xDC4F
    CorruptOrUnplayable = 0xDC50
    ProducerSerialNumber = 0xDC51
    RepresentativeSampleFormat = 0xDC81
    RepresentativeSampleSize = 0xDC82
    RepresentativeSampleHeight = 0xDC83
    RepresentativeSampleWidth = 0xDC84
    RepresentativeSampleDuration = 0xDC85
    RepresentativeSampleData = 0xDC86
    Width = 0xDC87
    Height = 0xDC88
    Duration = 0xDC89
    Rating = 0xDC8A
    Track = 0xDC8B
    Genre = 0xDC8C
    Credits = 0xDC8D
    Lyrics = 0xDC8E
    SubscriptionContentID = 0xDC8F
    ProducedBy = 0xDC90
    UseCount = 0xDC91
    SkipCount = 0xDC92
    LastAccessed = 0xDC93
    ParentalRating = 0xDC94
    MetaGenre = 0xDC95
    Composer = 0xDC96
    EffectiveRating = 0xDC97
    Subtitle = 0xDC98
    OriginalReleaseDate = 0xDC99
    AlbumName = 0xDC9A
    AlbumArtist = 0xDC9B
    Mood = 0xDC9C
    DRMStatus = 0xDC9D
    SubDescription = 0xDC9E
    IsCropped = 0xDCD1
    IsColorCorrected = 0xDCD2
    ImageBitDepth = 0xDCD3
    Fnumber = 0xDCD4
    ExposureTime = 0xDCD5
    ExposureIndex = 0xDCD6
    DisplayName = 0xDCE0
    BodyText = 0xDCE1
    Subject = 0xDCE2
    Priority = 0xDCE3
    GivenName = 0xDD00
    MiddleNames = 0xDD01
    FamilyName = 0xDD02
    Prefix = 0xDD03
    Suffix = 0xDD04
    PhoneticGivenName = 0xDD05
    PhoneticFamilyName = 0xDD06
    EmailPrimary = 0xDD07
    EmailPersonal1 = 0xDD08
    EmailPersonal2 = 0xDD09
    EmailBusiness1 = 0xDD0A
    EmailBusiness2 = 0xDD0B
    EmailOthers = 0xDD0C
    PhoneNumberPrimary = 0xDD0D
    PhoneNumberPersonal = 0xDD0E
    PhoneNumberPersonal2 = 0xDD0F
    PhoneNumberBusiness = 0xDD10
    PhoneNumberBusiness2 = 0xDD11
    PhoneNumberMobile = 0xDD12
    PhoneNumberMobile2 = 0xDD13
    FaxNumberPrimary = 0xDD14
    FaxNumberPersonal = 0xDD15
    FaxNumberBusiness = 0xDD16
    PagerNumber = 0xDD17
    PhoneNumberOthers = 0xDD18
    PrimaryWebAddress = 0xDD19
    PersonalWebAddress = 0xDD1A
    BusinessWebAddress = 0xDD1B
    InstantMessengerAddress = 0xDD1C
    InstantMessengerAddress2 = 0xDD1D
    InstantMessengerAddress3 = 0xDD1E
    PostalAddressPersonalFull = 0xDD1F
    PostalAddressPersonalFullLine1 = 0xDD20
    PostalAddressPersonalFullLine2 = 0xDD21
    PostalAddressPersonalFullCity = 0xDD22
    PostalAddressPersonalFullRegion = 0xDD23
    PostalAddressPersonalFullPostalCode = 0xDD24
    PostalAddressPersonalFullCountry = 0xDD25
    PostalAddressBusinessFull = 0xDD26
    PostalAddressBusinessLine1 = 0xDD27
    PostalAddressBusinessLine2 = 0xDD28
    PostalAddressBusinessCity = 0xDD29
    PostalAddressBusinessRegion = 0xDD2A
    PostalAddressBusinessPostalCode = 0xDD2B
    PostalAddressBusinessCountry = 0xDD2C
    PostalAddressOtherFull = 0xDD2D
    PostalAddressOtherLine1 = 0xDD2E
    PostalAddressOtherLine2 = 0xDD2F
    PostalAddressOtherCity = 0xDD30
    PostalAddressOtherRegion = 0xDD31
    PostalAddressOtherPostalCode = 0xDD32
    PostalAddressOtherCountry = 0xDD33
    OrganizationName = 0xDD34
    PhoneticOrganizationName = 0xDD35
    Role = 0xDD36
    Birthdate = 0xDD37
    MessageTo = 0xDD40
    MessageCC = 0xDD41
    MessageBCC = 0xDD42
    MessageRead = 0xDD43
    MessageReceivedTime = 0xDD44
    MessageSender = 0xDD45
    ActivityBeginTime = 0xDD50
    ActivityEndTime = 0xDD51
    ActivityLocation = 0xDD52
    ActivityRequiredAttendees = 0xDD54
    ActivityOptionalAttendees = 0xDD55
    ActivityResources = 0xDD56
    ActivityAccepted = 0xDD57
    Owner = 0xDD5D
    Editor = 0xDD5E
    Webmaster = 0xDD5F
    URLSource = 0xDD60
    URLDestination = 0xDD61
    TimeBookmark = 0xDD62
    ObjectBookmark = 0xDD63
    ByteBookmark = 0xDD64
    LastBuildDate = 0xDD70
    TimetoLive = 0xDD71
    MediaGUID = 0xDD72
    TotalBitRate = 0xDE91
    BitRateType = 0xDE92
    SampleRate = 0xDE93
    NumberOfChannels = 0xDE94
    AudioBitDepth = 0xDE95
    ScanDepth = 0xDE97
    AudioWAVECodec = 0xDE99
    AudioBitRate = 0xDE9A
    VideoFourCCCodec = 0xDE9B
    VideoBitRate = 0xDE9C
    FramesPerThousandSeconds = 0xDE9D
    KeyFrameDistance = 0xDE9E
    BufferSize = 0xDE9F
    EncodingQuality = 0xDEA0
    EncodingProfile = 0xDEA1


class DeviceProperty(IntEnum):
    """Device properties (MTP 1.1 annex C)."""

    Undefined = 0x5000
    BatteryLevel = 0x5001
    FunctionalMode = 0x5002
    ImageSize = 0x5003
    CompressionSetting = 0x5004
    WhiteBalance = 0x5005
    RGBGain = 0x5006
    FNumber = 0x5007
    FocalLength = 0x5008
    FocusDistance = 0x5009
    FocusMode = 0x500A
    ExposureMeteringMode = 0x500B
    FlashMode = 0x500C
    ExposureTime = 0x500D
    ExposureProgramMode = 0x500E
    ExposureIndex = 0x500F
    ExposureBiasCompensation = 0x5010
    DateTime = 0x5011
    CaptureDelay = 0x5012
    StillCaptureMode = 0x5013
    Contrast = 0x5014
    Sharpness = 0x5015
    DigitalZoom = 0x5016
    EffectMode = 0x5017
    BurstNumber = 0x5018
    BurstInterval = 0x5019
    TimelapseNumber = 0x501A
    TimelapseInterval = 0x501B
    FocusMeteringMode = 0x501C
    UploadURL = 0x501D
    Artist = 0x501E
    CopyrightInfo = 0x501F
    SupportedStreams = 0x5020
    EnabledStreams = 0x5021
    VideoFormat = 0x5022
    VideoResolution = 0x5023
    VideoQuality = 0x5024
    VideoFrameRate = 0x5025
    VideoContrast = 0x5026
    VideoBrightness = 0x5027
    AudioFormat = 0x5028
    AudioBitrate = 0x5029
    AudioSamplingRate = 0x502A
    AudioBitPerSample = 0x502B
    AudioVolume = 0x502C
    SecureTime = 0xD101
    DeviceCertificate = 0xD102
    RevocationInfo = 0xD103
    PlaysForSureID = 0xD131
    ZUNE_UNKNOWN2 = 0xD132
    ZUNE_UNKNOWN1 = 0xD181
    ZUNE_UNKNOWN3 = 0xD215
    ZUNE_UNKNOWN4 = 0xD216
    SynchronizationPartner = 0xD401
    DeviceFriendlyName = 0xD402
    VolumeLevel = 0xD403
    DeviceIcon = 0xD405
    SessionInitiatorInfo = 0xD406
    PerceivedDeviceType = 0xD407
    PlaybackRate = 0xD410
    PlaybackObject = 0xD411
    PlaybackContainerIndex = 0xD412
    PlaybackPosition = 0xD413
    SupportedFormatsOrdered = 0xD404


class DataType(IntEnum):
    """Data types of properties (MTP 1.1 section 3.2); arrays are the scalar type | 0x4000."""

    UNDEF = 0x0000
    INT8 = 0x0001
    UINT8 = 0x0002
    INT16 = 0x0003
    UINT16 = 0x0004
    INT32 = 0x0005
    UINT32 = 0x0006
    INT64 = 0x0007
    UINT64 = 0x0008
    INT128 = 0x0009
    UINT128 = 0x000A
    AINT8 = 0x4001
    AUINT8 = 0x4002
    AINT16 = 0x4003
    AUINT16 = 0x4004
    AINT32 = 0x4005
    AUINT32 = 0x4006
    AINT64 = 0x4007
    AUINT64 = 0x4008
    AINT128 = 0x4009
    AUINT128 = 0x400A
    STR = 0xFFFF


class ContainerType(IntEnum):
    """USB container types (Still Image Class, section 7.1)."""

    COMMAND = 1
    DATA = 2
    RESPONSE = 3
    EVENT = 4


class StorageType(IntEnum):
    """StorageType of StorageInfo: does a storage come out, can it be written (MTP 1.1 section 5.2.2)."""

    UNDEFINED = 0
    FIXED_ROM = 1
    REMOVABLE_ROM = 2
    FIXED_RAM = 3
    REMOVABLE_RAM = 4


class AccessCapability(IntEnum):
    """AccessCapability of StorageInfo: what the host may change (MTP 1.1 section 5.2.2)."""

    READ_WRITE = 0
    READ_ONLY_WITHOUT_DELETE = 1
    READ_ONLY_WITH_DELETE = 2


ROOT_PARENT = 0xFFFFFFFF  # parent of the root's children in GetObjectHandles and SendObjectInfo
ALL = 0xFFFFFFFF  # "all storages", "all properties", and never an object handle
